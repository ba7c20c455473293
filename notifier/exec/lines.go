package exec

import (
	"bytes"
	"log/slog"
	"strings"
)

const (
	lineMax  = 1 << 10 // bytes of a line that are logged
	linesMax = 100     // lines of one stream of one run
)

// lines logs what is written to it, line by line and up to a limit. It accepts
// everything, so that a command that writes much does not block.
type lines struct {
	logger *slog.Logger
	line   []byte
	cut    int // bytes left out of line
	count  int
}

func (t *Exec) lines(stream string) *lines {
	return &lines{logger: t.opts.Logger.With("target", t.opts.Target, "stream", stream)}
}

// Write never fails.
func (l *lines) Write(data []byte) (int, error) {
	for part := range bytes.Lines(data) {
		text, ended := bytes.CutSuffix(part, []byte("\n"))
		take := min(len(text), lineMax-len(l.line))
		l.line = append(l.line, text[:take]...)
		l.cut += len(text) - take
		if ended {
			l.flush()
		}
	}
	return len(data), nil
}

func (l *lines) flush() {
	if l.count++; l.count <= linesMax {
		text := strings.ToValidUTF8(strings.TrimSuffix(string(l.line), "\r"), "�")
		attrs := []any{"line", text}
		if l.cut > 0 {
			attrs = append(attrs, "bytes_cut", l.cut)
		}
		l.logger.Info("output of the command", attrs...)
	}
	l.line, l.cut = l.line[:0], 0
}

// end logs a last line without a newline, and how many lines were left out.
func (l *lines) end() {
	if len(l.line) > 0 {
		l.flush()
	}
	if more := l.count - linesMax; more > 0 {
		l.logger.Info("the command wrote more", "lines_cut", more)
	}
}
