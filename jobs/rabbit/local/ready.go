package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/warrenjobs/warren/jobs/child"
)

// pace is the interval at which a starting server is checked for readiness.
const pace = 50 * time.Millisecond

var errRefused = errors.New("the broker refuses the password kept beside its data")

func (s *Server) awaitReady(ctx context.Context) error {
	if err := await(ctx, s.done, s.Ended, s.managementAnswers); err != nil {
		return err
	}
	return await(ctx, s.done, s.Ended, s.amqpAnswers)
}

func awaitPort(ctx context.Context, port int, p *child.Process) error {
	return await(ctx, p.Done(), p.Ended, func(context.Context) error {
		conn, err := net.Dial("tcp", address(port))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// await calls ask until it returns nil, the password is refused, the server has ended, or ctx ends.
func await(ctx context.Context, done <-chan struct{}, ended func() error, ask func(context.Context) error) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil || errors.Is(err, errRefused) {
			return err
		}
		select {
		case <-done:
			return ended()
		case <-ctx.Done():
			return fmt.Errorf("wait until it answers: %w (last: %w)", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

func (s *Server) managementAnswers(ctx context.Context) error {
	return managementAnswers(ctx, s.ports.Management, s.password)
}

func managementAnswers(ctx context.Context, port int, password string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address(port)+"/api/overview", nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(name, password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		return errRefused
	default:
		return fmt.Errorf("the management API answers %s", response.Status)
	}
}

// amqpAnswers sends the AMQP protocol header, which the broker answers with a method frame, of type 1.
func (s *Server) amqpAnswers(context.Context) error { return amqpAnswers(s.ports.AMQP) }

func amqpAnswers(port int) error {
	conn, err := net.DialTimeout("tcp", address(port), time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // fails only on a closed connection
	if _, err := conn.Write([]byte("AMQP\x00\x00\x09\x01")); err != nil {
		return err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if answer[0] != 1 {
		return fmt.Errorf("port %d does not speak AMQP 0-9-1", port)
	}
	return nil
}
