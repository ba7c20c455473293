# A single process, which replaces its connections after the webhook.
workers 0
threads 8, 8
