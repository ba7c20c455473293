package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ParseCommand decodes a program and its arguments from a JSON array of strings. Its errors contain no part
// of the text, which may contain a password.
func ParseCommand(s string) (command []string, err error) {
	var arguments []*string // null is not an empty argument
	if json.Unmarshal([]byte(s), &arguments) != nil {
		return nil, errors.New("malformed")
	}
	for i, argument := range arguments {
		if argument == nil || strings.Contains(*argument, "\x00") {
			return nil, fmt.Errorf("element %d is null or contains a zero byte", i)
		}
		command = append(command, *argument)
	}
	if len(command) == 0 || command[0] == "" {
		return nil, errors.New("it names no program")
	}
	return command, nil
}
