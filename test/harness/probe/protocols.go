package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/ssh"
)

// The steps before the handshake of protocols with their own request for TLS.
var (
	PostgresTLS = []Step{Bytes("\x00\x00\x00\x08\x04\xd2\x16\x2f"), ExpectBytes("S"), Certificate}
	MySQLTLS    = []Step{mysqlGreeting, Bytes(mysqlRequest), Certificate}
	SMTPTLS     = []Step{
		Expect("220"), Send("EHLO localhost"), Expect("250 "), Send("STARTTLS"), Expect("220"), Certificate,
	}
)

// mysqlRequest is the packet for TLS: flags of the client (protocol 4.1, TLS), a maximum
// size, a character set and zeros.
var mysqlRequest = string(append([]byte{32, 0, 0, 1, 0x00, 0x8a, 0, 0, 0, 0, 0, 1, 33}, make([]byte, 23)...))

// mysqlGreeting reads the first packet of the server.
func mysqlGreeting(c *dialog) error {
	var header [4]byte
	if _, err := io.ReadFull(c.in, header[:]); err != nil {
		return err
	}
	header[3] = 0
	_, err := io.CopyN(io.Discard, c.in, int64(binary.LittleEndian.Uint32(header[:])))
	return err
}

// MQTTLogin connects as the user app with the password of the version.
func MQTTLogin(c *dialog) error {
	body := []byte("\x00\x04MQTT\x04\xc2\x00\x3c")
	for _, text := range []string{"probe", "app", fmt.Sprintf("password-%d", c.n)} {
		body = append(binary.BigEndian.AppendUint16(body, uint16(len(text))), text...)
	}
	if _, err := c.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		return err
	}
	return ExpectBytes("\x20\x02\x00\x00")(c)
}

// PostgresLogin logs in as the user app of a database with the password of the version. Some
// programs accept only simple statements.
func PostgresLogin(database, statement string) Probe {
	return func(at Place, n int64) error {
		ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
		defer cancel()
		url := fmt.Sprintf("postgres://app:password-%d@%s/%s?sslmode=disable", n, at.Addr, database)
		config, err := pgx.ParseConfig(url)
		if err != nil {
			return err
		}
		config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, statement)
		return err
	}
}

// HostKey compares the host key of an SSH server with the key of the version.
func HostKey(at Place, n int64) error {
	want, err := ssh.NewPublicKey(Key(n).Public())
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", at.Addr, timeLimit)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(timeLimit))
	seen := false
	_, _, _, err = ssh.NewClientConn(conn, at.Addr, &ssh.ClientConfig{
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			seen = bytes.Equal(key.Marshal(), want.Marshal())
			return nil
		},
	})
	if !seen {
		return fmt.Errorf("another host key, or none: %v", err)
	}
	return nil
}
