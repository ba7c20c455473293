package config

import (
	"encoding/json"
	"errors"
	"fmt"
	neturl "net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/secret-sync/secret-sync/notifier/process"
	"github.com/secret-sync/secret-sync/notifier/webhook"
)

func (r *reader) signal(variable string) syscall.Signal {
	signal, err := process.ParseSignal(r.get(variable))
	if err != nil {
		r.wrong(variable, r.get(variable), "", "a signal's name such as HUP, SIGUSR1 or RTMIN+1, or its number from 1 to 64, but 32 and 33")
	}
	return signal
}

// url never shows more of its value than the scheme: a webhook's secret may be
// in the user, the query or the path.
func (r *reader) url(variable string) string {
	value := r.get(variable)
	if value == "" {
		return ""
	}
	if err := checkURL(value); err != nil {
		r.hidden(variable, fmt.Sprintf("holds %s: %v", maskURL(value), err),
			"http://host/path, https://host/path or unix:///path/to.sock:/url/path")
	}
	return value
}

func maskURL(value string) string {
	for _, scheme := range []string{"http", "https", "unix"} {
		if strings.HasPrefix(value, scheme+"://") {
			return scheme + "://... (the rest is not shown)"
		}
	}
	return "a URL (not shown)"
}

// checkURL says what is wrong with a webhook's URL, without repeating any of
// it: the errors of net/url do, so that only the webhook's are passed on.
func checkURL(value string) error {
	if _, err := webhook.ParseURL(value); err != nil {
		return err
	}
	if parsed, err := neturl.Parse(value); err == nil && parsed.Port() != "" {
		if n, err := strconv.ParseUint(parsed.Port(), 10, 16); err != nil || n == 0 {
			return errors.New("its port is not a number from 1 to 65535")
		}
	}
	return nil
}

func (r *reader) method(variable string) string {
	value := r.get(variable)
	for _, c := range []byte(value) {
		alphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alphanumeric && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			r.wrong(variable, value, "", "an HTTP method such as POST")
			break
		}
	}
	return value
}

// exec does not repeat its value: an argument may be a password.
func (r *reader) exec(variable string) []string {
	value := r.get(variable)
	if value == "" {
		return nil
	}
	command, err := parseCommand(value)
	if err != nil {
		r.hidden(variable, fmt.Sprintf("holds a command (not shown): %v", err),
			`a JSON array of strings such as ["nginx","-s","reload"]`)
	}
	return command
}

func parseCommand(value string) ([]string, error) {
	var arguments []*string // so that null is not taken for an empty argument
	if err := json.Unmarshal([]byte(value), &arguments); err != nil {
		return nil, jsonMistake(err)
	}
	command := make([]string, len(arguments))
	for i, argument := range arguments {
		switch {
		case argument == nil:
			return nil, fmt.Errorf("element %d is null", i)
		case strings.Contains(*argument, "\x00"):
			return nil, fmt.Errorf("element %d has a zero byte", i)
		}
		command[i] = *argument
	}
	if len(command) == 0 || command[0] == "" {
		return nil, errors.New("it has no program to run")
	}
	return command, nil
}

// jsonMistake says where, and not what: encoding/json repeats a part of its
// input.
func jsonMistake(err error) error {
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON, at byte %d", syntax.Offset)
	case errors.As(err, &typed):
		return fmt.Errorf("not an array of strings, at byte %d", typed.Offset)
	}
	return errors.New("not JSON")
}
