//go:build unix

package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// serverScript runs a server and ends it at the end of its own input, which
// comes when the test binary has ended, however: then the server stops at once
// ("immediate"; asked again, for one that is just starting may not have heard),
// or is killed when it does not. It prints the server's pid, and ends with the
// server.
const serverScript = `
exec 4<&0
"$@" >&2 4<&- &
server=$!
echo $server
exec >&2
(
	read -r _ <&4
	i=0
	while kill -QUIT $server && [ $i -lt 100 ]; do
		sleep 0.1
		i=$((i + 1))
	done
	kill -KILL $server
) 2>/dev/null &
watch=$!
exec 4<&-
wait $server
status=$?
kill $watch 2>/dev/null
exit $status`

// janitorScript removes a folder at the end of its input. All programs that
// write there have the other side of it, besides the test binary: it ends when
// the last of them has. To pull the folder away under one of them would have
// it end without freeing its shared memory.
const janitorScript = `
read -r _
if [ -r /proc/mounts ]; then
	while read -r _ at _; do
		case $at in "$1"/*) umount -l "$at" ;; esac
	done </proc/mounts
fi
rm -rf "$1"`

// A keeper is a shell that outlives the test binary for as long as it takes
// to clear up after it.
type keeper struct {
	input *os.File      // at its end the shell does its duty
	out   *os.File      // what it prints
	done  chan struct{} // closed when the shell has ended
	err   error         // why, valid after done
}

// keep starts a script with its error output in log, and held open, when they
// are given. In a session of its own: what ends the test binary from a
// terminal or as a group must not end the keeper.
func keep(script string, account *syscall.Credential, log, held *os.File, args ...string) (*keeper, error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "pgtest"}, args...)...)
	cmd.Dir, cmd.Env = "/", environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: account}
	if log != nil { // nil, as an io.Writer, would not be none
		cmd.Stderr = log
	}
	if held != nil {
		cmd.ExtraFiles = []*os.File{held}
	}
	from, input, err1 := os.Pipe()
	out, to, err2 := os.Pipe()
	err := errors.Join(err1, err2)
	if err == nil {
		cmd.Stdin, cmd.Stdout = from, to
		err = cmd.Start()
	}
	for _, f := range []*os.File{from, to} {
		f.Close() // nil, where there is no pipe, is refused
	}
	if err != nil {
		input.Close()
		out.Close()
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	k := &keeper{input: input, out: out, done: make(chan struct{})}
	go func() {
		k.err = cmd.Wait()
		input.Close()
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
