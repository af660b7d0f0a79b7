package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"caisseauto/internal/config"
)

// grace is how long a process may go on after it was told to stop: it ends
// what it is at, or rolls it back.
const grace = 30 * time.Second

// start runs a process to its end, as a program of its own, and returns its
// exit code.
func (s *service) start(ctx context.Context, p config.Process, stdout, stderr io.Writer) (int, error) {
	exe, err := program()
	if err != nil {
		return exitFailure, err
	}
	cmd := exec.CommandContext(ctx, exe, s.arguments(p)...)
	cmd.Args[0] = "caisseauto"
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Cancel = func() error { return stop(cmd.Process) }
	cmd.WaitDelay = grace
	orphans(cmd)
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitDone, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	case errors.As(err, &exit):
		return exitFailure, fmt.Errorf("it was ended: %w", err)
	}
	return exitFailure, err
}

// program is the path by which this program was called, as long as something
// is there: where it is itself a package, that leads through current to the
// release of now, while os.Executable names the one that this process was
// started from, which may be gone.
func program() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return os.Executable()
	}
	return path, nil
}

// notify tells systemd something, if it started us and wants to hear it
// (sd_notify(3)).
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' { // an abstract socket
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	return errors.Join(err, c.Close())
}
