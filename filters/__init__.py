"""Pure decisions: signals measured once, rules that compare them, recipes that order rules."""
