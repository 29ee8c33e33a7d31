"""Model: Idefics2 on packed documents; its pretrained parts, adapters and cost."""
