package exec

import "strings"

// outputMax is how many bytes of one stream of one run are logged.
const outputMax = 8 << 10

// output keeps the beginning of what is written to it. It accepts everything, so
// that a command that writes much does not block.
type output struct {
	kept []byte
	cut  int // bytes that were left out
}

// Write never fails.
func (o *output) Write(data []byte) (int, error) {
	take := min(len(data), outputMax-len(o.kept))
	o.kept = append(o.kept, data[:take]...)
	o.cut += len(data) - take
	return len(data), nil
}

func (t Target) logOutput(stream string, o output) {
	logger := t.Logger.With("target", "exec", "stream", stream)
	for line := range strings.Lines(strings.ToValidUTF8(string(o.kept), "�")) {
		logger.Info("output of the command", "line", strings.TrimRight(line, "\r\n"))
	}
	if o.cut > 0 {
		logger.Info("the command wrote more", "bytes_cut", o.cut)
	}
}
