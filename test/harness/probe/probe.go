// Package probe asks programs from outside which version of a Secret they use: by a TLS
// handshake, a login or an HTTP response. It also makes the versions.
package probe

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// A Place is a running program.
type Place struct {
	Addr    string // of its listener
	Dir     string // its directory
	Secrets string // the directory of the Secret in the volume
}

// A Probe returns nil if the program at a place uses the version n of the Secret.
type Probe func(at Place, n int64) error

// A Step is a part of a dialog with a program.
type Step func(c *dialog) error

// A dialog is a connection to a program, with or without TLS.
type dialog struct {
	net.Conn
	in *bufio.Reader
	n  int64
}

// timeLimit limits a whole dialog.
const timeLimit = 5 * time.Second

// Talk returns a probe that connects and takes the steps in order.
func Talk(steps ...Step) Probe {
	return func(at Place, n int64) error {
		conn, err := net.DialTimeout("tcp", at.Addr, timeLimit)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(timeLimit)); err != nil {
			return err
		}
		c := &dialog{Conn: conn, in: bufio.NewReader(conn), n: n}
		for i, step := range steps {
			if err := step(c); err != nil {
				return fmt.Errorf("step %d: %w", i+1, err)
			}
		}
		return nil
	}
}

// Certificate makes a TLS handshake. The serial number of the server's certificate must be n,
// unless n is 0. Later steps use TLS.
func Certificate(c *dialog) error {
	config := &tls.Config{ServerName: "localhost", InsecureSkipVerify: true} // only the serial number counts
	conn := tls.Client(c.Conn, config)
	if err := conn.Handshake(); err != nil {
		return err
	}
	c.Conn, c.in = conn, bufio.NewReader(conn)
	if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != c.n && c.n != 0 {
		return fmt.Errorf("certificate %d, want %d", got, c.n)
	}
	return nil
}

// fill replaces {n} by the version, and {basic} by the credentials of HTTP.
func (c *dialog) fill(text string) string {
	basic := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "app:password-%d", c.n))
	return strings.NewReplacer("{n}", fmt.Sprint(c.n), "{basic}", basic).Replace(text)
}

// Send sends lines, each with CR and LF.
func Send(lines ...string) Step {
	return func(c *dialog) error {
		_, err := io.WriteString(c, c.fill(strings.Join(lines, "\r\n")+"\r\n"))
		return err
	}
}

// Bytes sends bytes without a line end.
func Bytes(text string) Step {
	return func(c *dialog) error { _, err := io.WriteString(c, c.fill(text)); return err }
}

// Expect reads lines until a line starts with the prefix. A line that starts with a reject
// ends the dialog.
func Expect(prefix string, rejects ...string) Step {
	return func(c *dialog) error {
		for {
			line, err := c.in.ReadString('\n')
			if err != nil {
				return fmt.Errorf("no line %q: %w", prefix, err)
			}
			if strings.HasPrefix(line, c.fill(prefix)) {
				return nil
			}
			for _, reject := range rejects {
				if strings.HasPrefix(line, reject) {
					return fmt.Errorf("answer %q", line)
				}
			}
		}
	}
}

// ExpectBytes reads exactly these bytes.
func ExpectBytes(want string) Step {
	return func(c *dialog) error {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c.in, got); err != nil || string(got) != want {
			return fmt.Errorf("answer %q, %v, want %q", got, err, want)
		}
		return nil
	}
}

// Contains reads to the end of the connection. The text must be a part of it.
func Contains(text string) Step {
	return func(c *dialog) error {
		all, err := io.ReadAll(c.in)
		if !strings.Contains(string(all), c.fill(text)) {
			return fmt.Errorf("no %q in %.200q: %v", c.fill(text), all, err)
		}
		return nil
	}
}

// Get requests a path with HTTP. The response must contain the text.
func Get(path, text string) Probe {
	return Talk(Send("GET "+path+" HTTP/1.0", "Host: localhost", ""), Contains(text))
}
