package config

import "strings"

// convert returns e as a Config, and a *Problem for each mistake in e.
func convert(e *environment) (*Config, error) {
	p := &problems{}
	c := &Config{
		Namespace:      parse(p, "POD_NAMESPACE", e.Namespace, parseNamespace),
		PodName:        parse(p, "POD_NAME", e.Name, parseName),
		PodUID:         parse(p, "POD_UID", e.UID, parseName),
		ServiceAccount: parse(p, "POD_SERVICE_ACCOUNT", e.ServiceAccount, parseName),

		Secrets:         parseNames(p, "SECRETSYNC_SECRETS", e.Secrets),
		OptionalSecrets: parseNames(p, "SECRETSYNC_OPTIONAL_SECRETS", e.OptionalSecrets),
		Selector:        parse(p, "SECRETSYNC_SELECTOR", e.Selector, parseSelector),
		Items:           parseItems(p, "SECRETSYNC_ITEMS", e.Items),
		RequiredKeys:    parseKeys(p, "SECRETSYNC_REQUIRED_KEYS", e.RequiredKeys),

		Dir:           parse(p, "SECRETSYNC_DIR", e.Dir, parseDirectory),
		Layout:        parse(p, "SECRETSYNC_LAYOUT", e.Layout, parseLayout),
		FileMode:      parse(p, "SECRETSYNC_FILE_MODE", e.FileMode, parseMode),
		RemoveDeleted: parse(p, "SECRETSYNC_ON_DELETE", e.OnDelete, oneOf("keep", "remove")) == "remove",
		Settle:        parse(p, "SECRETSYNC_SETTLE", e.Settle, parseDuration),

		SignalCheck:     parse(p, "SECRETSYNC_SIGNAL_CHECK", e.SignalCheck, parseBool),
		SignalExitCheck: parse(p, "SECRETSYNC_SIGNAL_EXIT_CHECK", e.SignalExitCheck, parseBool),
		SignalInterval:  parse(p, "SECRETSYNC_SIGNAL_INTERVAL", e.SignalInterval, parseDuration),
		ProcessMinAge:   parse(p, "SECRETSYNC_PROCESS_MIN_AGE", e.ProcessMinAge, parseDuration),

		Webhooks:         parseURLs(p, "SECRETSYNC_WEBHOOK_URL", e.WebhookURL),
		WebhookMethod:    parse(p, "SECRETSYNC_WEBHOOK_METHOD", e.WebhookMethod, parseMethod),
		WebhookTimeout:   parse(p, "SECRETSYNC_WEBHOOK_TIMEOUT", e.WebhookTimeout, parseTimeout),
		WebhookCAFile:    parse(p, "SECRETSYNC_WEBHOOK_CA_FILE", e.WebhookCAFile, parseFile),
		WebhookTokenFile: parse(p, "SECRETSYNC_WEBHOOK_TOKEN_FILE", e.WebhookTokenFile, parseFile),
		Exec:             parse(p, "SECRETSYNC_EXEC", e.Exec, parseCommand),
		ExecTimeout:      parse(p, "SECRETSYNC_EXEC_TIMEOUT", e.ExecTimeout, parseTimeout),

		Splay:       parse(p, "SECRETSYNC_SPLAY", e.Splay, parseDuration),
		NotifyFirst: parse(p, "SECRETSYNC_NOTIFY_FIRST", e.NotifyFirst, parseBool),
		OneShot:     parse(p, "SECRETSYNC_ONE_SHOT", e.OneShot, parseBool),
		SyncTimeout: parse(p, "SECRETSYNC_SYNC_TIMEOUT", e.SyncTimeout, parseDuration),
		Events:      parse(p, "SECRETSYNC_EVENTS", e.Events, parseBool),

		HTTPAddr:  parse(p, httpAddr, e.HTTPAddr, parseAddress),
		LogStdout: parse(p, "SECRETSYNC_LOG_OUTPUT", e.LogOutput, oneOf("stderr", "stdout")) == "stdout",
		LogText:   parse(p, "SECRETSYNC_LOG_FORMAT", e.LogFormat, oneOf("json", "text")) == "text",
	}
	level := parse(p, "SECRETSYNC_LOG_LEVEL", e.LogLevel, oneOf("debug", "info", "warn", "error"))
	_ = c.LogLevel.UnmarshalText([]byte(level)) // slog knows all four names
	standard := parse(p, "SECRETSYNC_SIGNAL", e.Signal, parseSignal)
	c.Processes = parseTargets(p, "SECRETSYNC_PROCESS", e.Process, standard, "names of processes", isProcessName)
	c.PIDFiles = parseTargets(p, "SECRETSYNC_PID_FILE", e.PIDFile, standard, "absolute paths of files", isFile)
	checkPod(p, e, c)
	checkSecrets(p, e, c)
	checkWebhookFiles(p, c)
	checkOneShot(p, e, c)
	if c.OneShot {
		c.HTTPAddr = "" // an init container ends before a client could connect
	}
	return c, p.join()
}

// parse converts the text of a variable. It records an error of conversion as a problem. The
// value of an empty variable is the zero value.
func parse[S ~string, T any](p *problems, name string, text S, conversion func(string) (T, error)) (value T) {
	trimmed := strings.TrimSpace(string(text))
	if trimmed == "" {
		return value
	}
	value, err := conversion(trimmed)
	if err != nil {
		p.invalid(name, trimmed, err)
	}
	return value
}
