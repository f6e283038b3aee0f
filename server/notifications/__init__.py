"""Telling receivers about events: webhooks and e-mails."""
