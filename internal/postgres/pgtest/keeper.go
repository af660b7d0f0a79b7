//go:build unix

package pgtest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// serverScript runs a server and ends it at the end of its own input, which
// comes when the test binary has ended, however: then the server stops at once
// ("immediate"), or is killed when it does not. It prints the server's pid, and
// ends with the server.
const serverScript = `
exec 3<&0
"$@" >&2 3<&- &
server=$!
echo $server
exec >&2
(
	read -r _ <&3
	kill -QUIT $server
	i=0
	while kill -0 $server && [ $i -lt 100 ]; do
		sleep 0.1
		i=$((i + 1))
	done
	kill -KILL $server
) 2>/dev/null &
watch=$!
exec 3<&-
wait $server
status=$?
kill $watch 2>/dev/null
exit $status`

// janitorScript removes a folder when the test binary has ended. A server that
// is just ending may still write: it tries again, for half a minute.
const janitorScript = `
read -r _
i=0
while [ -e "$1" ] && [ $i -lt 300 ]; do
	if [ -r /proc/mounts ]; then
		while read -r _ at _; do
			case $at in "$1"/*) umount -l "$at" ;; esac
		done </proc/mounts
	fi
	rm -rf "$1" && break
	sleep 0.1
	i=$((i + 1))
done`

// A keeper is a shell that outlives the test binary for as long as it takes
// to clear up after it.
type keeper struct {
	input io.WriteCloser // at its end the shell does its duty
	out   io.ReadCloser
	done  chan struct{} // closed when the shell has ended
	err   error         // why, valid after done
}

// keep starts a script. In a session of its own: what ends the test binary
// from a terminal or as a group must not end the keeper.
func keep(script string, account *syscall.Credential, log *os.File, args ...string) (*keeper, error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "pgtest"}, args...)...)
	cmd.Dir, cmd.Env = "/", environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: account}
	if log != nil { // nil, as an io.Writer, would not be none
		cmd.Stderr = log
	}
	k := &keeper{done: make(chan struct{})}
	out, to, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	defer to.Close()
	k.out, cmd.Stdout = out, to
	if k.input, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	go func() {
		k.err = cmd.Wait()
		close(k.done)
	}()
	return k, nil
}

// pid reads the process id that the script prints.
func (k *keeper) pid() (int, error) {
	defer k.out.Close()
	var line strings.Builder
	b := make([]byte, 1)
	for {
		if _, err := k.out.Read(b); err != nil {
			return 0, fmt.Errorf("pgtest: the server's process: %w", err)
		}
		if b[0] == '\n' {
			return strconv.Atoi(line.String())
		}
		line.WriteByte(b[0])
	}
}

// ended reports whether the shell has ended.
func (k *keeper) ended() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}
