"""Hosts: how one host is asked: its addresses, pace, wishes and answers."""
