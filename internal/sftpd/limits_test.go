package sftpd

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

func TestLimits(t *testing.T) {
	t.Run("handles", func(t *testing.T) {
		s := startSite(t, Limits{Handles: 3})
		s.place(t, "ACME/down/HEAD.json", "head")
		c := s.login(t, "till017")
		for range 5 { // closed ones are given back
			var open []*sftp.File
			for range 3 {
				f, err := c.Open("/ACME/down/HEAD.json")
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, f)
			}
			if _, err := c.Open("/ACME/down/HEAD.json"); err == nil {
				t.Fatal("a fourth file was opened")
			}
			if err := write(c, "/ACME/up/017/0000000001.tar.zst", "", fresh); err == nil {
				t.Fatal("a fourth file was opened for writing")
			}
			if _, err := c.ReadDir("/ACME/down"); err == nil {
				t.Fatal("a folder was opened as fourth")
			}
			for _, f := range open {
				f.Close()
			}
		}
	})
	t.Run("channels", func(t *testing.T) {
		s := startSite(t, Limits{Channels: 2})
		conn, err := s.ssh("till017")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for i := range 3 {
			_, err := conn.NewSession()
			if (err == nil) != (i < 2) {
				t.Errorf("session %d: %v", i, err)
			}
		}
	})
	t.Run("file size and entries", func(t *testing.T) {
		s := startSite(t, Limits{FileSize: 10, Entries: 3})
		c := s.login(t, "till017")
		if err := write(c, "/ACME/up/017/0000000001.tar.zst.part", "12345678901", fresh); err == nil {
			t.Error("11 bytes were written")
		}
		if err := write(c, "/ACME/up/017/0000000002.tar.zst", "1234567890", fresh); err != nil {
			t.Error(err)
		}
		if err := write(c, "/ACME/up/017/0000000003.tar.zst", "1234567890", fresh); err != nil {
			t.Error(err)
		}
		if err := write(c, "/ACME/up/017/0000000004.tar.zst", "", fresh); err == nil {
			t.Error("a fourth file was made")
		}
		if err := write(c, "/ACME/up/017/0000000001.tar.zst.part", "x", resume); err != nil {
			t.Errorf("going on in a full folder: %v", err)
		}
	})
	t.Run("connections of a user", func(t *testing.T) {
		s := startSite(t, Limits{PerUser: 2})
		first := s.login(t, "till017")
		second := s.login(t, "till017")
		if _, err := second.ReadDir("/"); err != nil {
			t.Fatal(err)
		}
		third := s.login(t, "till017") // ends the first, silent for longest
		for _, c := range []*sftp.Client{second, third} {
			if _, err := c.ReadDir("/"); err != nil {
				t.Error(err)
			}
		}
		if _, err := first.ReadDir("/"); err == nil {
			t.Error("the oldest connection still lives")
		}
		s.login(t, "till018")
	})
	t.Run("connections of an address", func(t *testing.T) {
		s := startSite(t, Limits{PerAddress: 2})
		s.login(t, "till017")
		s.login(t, "till018")
		if _, err := s.ssh("server"); err == nil {
			t.Error("a third connection was accepted")
		}
	})
	t.Run("handshake", func(t *testing.T) {
		s := startSite(t, Limits{Handshake: 100 * time.Millisecond})
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		start := time.Now()
		go func() { // one byte now and then does not help
			for {
				if _, err := c.Write([]byte("S")); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the server still waits for a handshake")
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
	t.Run("idle", func(t *testing.T) {
		s := startSite(t, Limits{Idle: 300 * time.Millisecond})
		c := s.login(t, "till017")
		for range 6 { // bytes renew it
			time.Sleep(100 * time.Millisecond)
			if _, err := c.ReadDir("/"); err != nil {
				t.Fatal(err)
			}
		}
		gone := make(chan struct{})
		go func() { c.Wait(); close(gone) }()
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			t.Error("an idle connection lives on")
		}
	})
}

// Serve ends idle connections at once and lets a transfer finish.
func TestGracefulStop(t *testing.T) {
	s := startSite(t, Limits{Grace: 5 * time.Second})
	idle, busy := s.login(t, "till017"), s.login(t, "till018")
	f, err := busy.OpenFile("/ACME/up/018/0000000001.tar.zst", fresh)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	start := time.Now()
	go func() { ended <- s.stop() }()
	idle.Wait()
	if _, err := f.Write([]byte("the last bytes")); err != nil {
		t.Errorf("the transfer was cut: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("the transfer was cut: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %v though all was done", took)
	}
	s.holds(t, "ACME/up/018/0000000001.tar.zst", "the last bytes")
}
