package term

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty returns a terminal and a function that returns what was shown on it.
func pty(t *testing.T) (*os.File, func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals to be had here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skip(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	text := make(chan string)
	go func() {
		var b strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			b.Write(buf[:n])
			if err != nil { // EIO when the last slave closes
				break
			}
		}
		text <- b.String()
	}()
	return slave, func() string {
		if err := slave.Close(); err != nil {
			t.Error(err)
		}
		defer master.Close()
		return <-text
	}
}

func TestProgressBar(t *testing.T) {
	tty, shown := pty(t)
	if !IsTerminal(tty) {
		t.Fatal("a pty is a terminal")
	}
	p := NewProgress(ProgressOptions{Label: "fetch", Total: 4096, Bytes: true, Out: tty, After: 20 * time.Millisecond})
	p.Add(1024)
	time.Sleep(30 * time.Millisecond)
	p.Add(1024)
	time.Sleep(redraw + 10*time.Millisecond)
	p.Add(4096) // more than was said
	p.Done()
	p.Done()
	p.Add(1)
	text := shown()
	if !strings.Contains(text, "fetch") || !strings.Contains(text, "50%") || !strings.Contains(text, "B/s") {
		t.Errorf("%q", text)
	}
	if strings.Count(text, "\n") > 1 {
		t.Errorf("the bar scrolls: %q", text)
	}
}

// What is quick leaves no trace on the terminal.
func TestProgressQuick(t *testing.T) {
	tty, shown := pty(t)
	p := NewProgress(ProgressOptions{Label: "fetch", Total: 10, Out: tty})
	for range 10 {
		p.Add(1)
	}
	p.Done()
	if text := shown(); text != "" {
		t.Errorf("%q", text)
	}
}
