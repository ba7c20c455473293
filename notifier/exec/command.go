package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ParseCommand decodes a program and its arguments from a JSON array of strings. Its errors
// contain no part of the text, which may contain a password.
func ParseCommand(s string) (command []string, err error) {
	var arguments []*string // null is not an empty argument
	if err := json.Unmarshal([]byte(s), &arguments); err != nil {
		return nil, positionOf(err)
	}
	for i, argument := range arguments {
		switch {
		case argument == nil:
			return nil, fmt.Errorf("element %d is null", i)
		case strings.Contains(*argument, "\x00"):
			return nil, fmt.Errorf("element %d contains a zero byte", i)
		}
		command = append(command, *argument)
	}
	if len(command) == 0 || command[0] == "" {
		return nil, errors.New("it names no program")
	}
	return command, nil
}

// positionOf replaces an error of encoding/json, which contains a part of the input.
func positionOf(err error) error {
	switch err := err.(type) {
	case *json.SyntaxError:
		return fmt.Errorf("not JSON, at byte %d", err.Offset)
	case *json.UnmarshalTypeError:
		return fmt.Errorf("not an array of strings, at byte %d", err.Offset)
	}
	return errors.New("not JSON")
}
