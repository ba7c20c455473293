package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// width returns the number of columns of the terminal, 0 if out is not a terminal.
func width(out io.Writer) int {
	file, ok := out.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// interpretsEscapes reports whether out is a terminal that interprets escape sequences.
func interpretsEscapes(out io.Writer) bool {
	file, _ := out.(*os.File)
	return width(out) > 0 && os.Getenv("TERM") != "dumb" && enableEscapes(file)
}
