"""Pure decisions: signals measured once, rules that compare them to limits, recipes that order rules."""
