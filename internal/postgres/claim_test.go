//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"caisseauto/internal/database"
	"caisseauto/internal/postgres/pgtest"
)

// claimant makes a test binary a host that claims and then does nothing: it
// writes a line when it has the claim, and one when it has lost it.
const claimant = "CAISSEAUTO_TEST_CLAIM"

func TestMain(m *testing.M) {
	claimBeat, claimLease, claimIdle = claimBeat/2, claimLease/2, claimIdle/2
	if dsn := os.Getenv(claimant); dsn != "" {
		os.Exit(hold(dsn))
	}
	os.Exit(m.Run())
}

func hold(dsn string) int {
	c, err := NewSource(dsn, NewCapture(nil), SourceOptions{}).Claim(context.Background(), "A/down")
	if err != nil || c.Holder != "" {
		fmt.Println("failed", err, c)
		return 1
	}
	fmt.Println("claimed")
	<-c.Context().Done()
	fmt.Println("lost", c.Err())
	return 0
}

// otherHost starts a process that has the claim when otherHost returns, and
// gives back what it says from then on.
func otherHost(t *testing.T, dsn string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), claimant+"="+dsn)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	said := make([]byte, 8)
	if n, err := out.Read(said); err != nil || string(said[:n]) != "claimed\n" {
		t.Fatalf("%q, %v", said[:n], err)
	}
	return cmd, out
}

// tryClaim claims, and returns who has the claim when it is not this process.
func tryClaim(t *testing.T, dsn, stream string) string {
	t.Helper()
	c, err := NewSource(dsn, NewCapture(nil), SourceOptions{}).Claim(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	c.Release()
	return c.Holder
}

// claimedWithin waits until a claim can be had.
func claimedWithin(t *testing.T, dsn string, most time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		who := tryClaim(t, dsn, "A/down")
		if who == "" {
			return time.Since(start)
		}
		if time.Since(start) > most {
			t.Fatalf("%s has the claim still after %s", who, most)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestClaim: one host at a time has a stream, and others are told who.
func TestClaim(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	e.capture(articles("A"))
	cmd, _ := otherHost(t, e.dsn)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tryClaim(t, e.dsn, "A/down"), fmt.Sprintf("caisseauto@%s/%d", host, cmd.Process.Pid); got != want {
		t.Errorf("the holder is %q, want %q", got, want)
	}
	if got := tryClaim(t, e.dsn, "B/down"); got != "" {
		t.Errorf("another stream: %q", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if d := claimedWithin(t, e.dsn, 2*time.Second); d > time.Second {
		t.Errorf("the claim of a killed process was free after %s", d)
	}
}

// TestRelease: whoever gives a claim back gives it back at once, and who comes
// in the moment in which it is given back takes it or is told who was first.
func TestRelease(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	s := NewSource(e.dsn, NewCapture(nil), SourceOptions{})
	lock := func(how string) (ok bool) {
		t.Helper()
		if err := e.QueryRow(t.Context(), "SELECT "+how+"($1)", claimKey("A/down")).Scan(&ok); err != nil {
			t.Fatal(err)
		}
		return ok
	}
	for range 30 {
		c, err := s.Claim(t.Context(), "A/down")
		if err != nil {
			t.Fatal(err)
		}
		if lock("pg_try_advisory_lock") {
			t.Fatal("it was not claimed")
		}
		c.Release()
		if !lock("pg_try_advisory_lock") || !lock("pg_advisory_unlock") {
			t.Fatal("it is claimed still")
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	other := pgtest.Connect(t, e.dsn)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, _ = other.Exec(context.Background(), fmt.Sprintf("SELECT pg_advisory_lock(%[1]d); SELECT pg_advisory_unlock(%[1]d)", claimKey("A/down")))
		}
	}()
	for range 60 {
		c, err := s.Claim(t.Context(), "A/down")
		if err != nil {
			t.Fatal(err)
		}
		c.Release()
		if strings.Contains(c.Holder, "does not show") {
			t.Fatal(c.Holder)
		}
	}
	cancel()
	<-done
}

// TestClaimOfARoleWithoutRights: a role that may not see who other sessions
// are is told what can be told.
func TestClaimOfARoleWithoutRights(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	cmd, _ := otherHost(t, e.dsn)
	role := pgtest.Get(t).NewRole(t, "")
	got := tryClaim(t, pgtest.Get(t).DSN(pgtest.Database(t, e.dsn), role), "A/down")
	if !strings.HasSuffix(got, fmt.Sprintf("/%d", cmd.Process.Pid)) {
		t.Errorf("%q", got)
	}
}

// TestClaimWaitsForTheDead: what a host that has died had handed to the server
// is finished before its successor begins.
func TestClaimWaitsForTheDead(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	e.capture(articles("A"))
	tx, err := e.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "UPDATE caisseauto.caisseauto_stream SET sequence = 7"); err != nil {
		t.Fatal(err)
	}
	committed := make(chan error, 1)
	time.AfterFunc(300*time.Millisecond, func() { committed <- tx.Commit(context.Background()) })
	s := NewSource(e.dsn, NewCapture(articles("A")), SourceOptions{})
	defer s.Close()
	c, err := s.Claim(t.Context(), "A/down")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if err := <-committed; err != nil {
		t.Fatal(err)
	}
	if st, err := s.Stand(t.Context(), "A/down"); err != nil || st.Last.Sequence != 7 {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestClaimOfAStoppedProcess: the network is well, and the process does not
// run. Its claim goes to another, and when it goes on it knows.
func TestClaimOfAStoppedProcess(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	cmd, out := otherHost(t, e.dsn)
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d := claimedWithin(t, e.dsn, claimIdle+10*time.Second)
	t.Logf("the claim was free after %s", d)
	if d < claimLease {
		t.Errorf("before the host itself would have given up")
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(out)
	if err != nil || !strings.Contains(string(said), "the claim on the stream was lost") {
		t.Errorf("it goes on: %v, %q", err, said)
	}
}

// TestClaimInASilentNetwork: no byte comes through and nobody is told. The host
// stops before the server gives its claim to another.
func TestClaimInASilentNetwork(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	net := pgtest.Get(t).Proxy(t)
	s := NewSource(net.DSN(pgtest.Database(t, e.dsn), "postgres"), NewCapture(nil), SourceOptions{})
	c, err := s.Claim(t.Context(), "A/down")
	if err != nil {
		t.Fatal(err)
	}
	net.Hold(true)
	start := time.Now()
	free := make(chan time.Duration)
	go func() { free <- claimedWithin(t, e.dsn, claimIdle+10*time.Second) }()
	<-c.Context().Done()
	stopped := time.Since(start)
	if !errors.Is(c.Err(), ErrClaimLost) || !errors.Is(c.Err(), database.ErrUnavailable) || !errors.Is(c.Check(), ErrClaimLost) {
		t.Errorf("%v", c.Err())
	}
	d := <-free
	t.Logf("stopped after %s, free after %s", stopped, d)
	if stopped >= d {
		t.Error("two hosts had the claim")
	}
	c.Release()
}

// TestClaimCut: a connection that ends is noticed by the next beat, and before
// anything is written by whoever asks.
func TestClaimCut(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	net := pgtest.Get(t).Proxy(t)
	s := NewSource(net.DSN(pgtest.Database(t, e.dsn), "postgres"), NewCapture(nil), SourceOptions{})
	c, err := s.Claim(t.Context(), "A/down")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	net.Cut()
	select {
	case <-c.Context().Done():
	case <-time.After(claimBeat + time.Second):
	}
	if err := c.Check(); !errors.Is(err, ErrClaimLost) || !errors.Is(context.Cause(c.Context()), ErrClaimLost) {
		t.Errorf("%v", err)
	}
}

// TestClaimSettings: the server is told how to notice a host that is gone.
func TestClaimSettings(t *testing.T) {
	t.Parallel()
	e := newERP(t, articleSQL)
	role := pgtest.Get(t).NewRole(t, "secret")
	c, err := NewSource(pgtest.Get(t).TCP(pgtest.Database(t, e.dsn), role)+" password=secret application_name=my-own-name-that-is-very-long-so-that-nothing-more-has-room", NewCapture(nil), SourceOptions{}).Claim(t.Context(), "A/down")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	var got string
	c.mu.Lock()
	err = c.s.QueryRow(t.Context(), `SELECT concat_ws(' ', current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'), current_setting('tcp_keepalives_count'), current_setting('tcp_user_timeout'))`).Scan(&got)
	c.mu.Unlock()
	if want := "5 2 3 11000"; err != nil || got != want && got != "5 2 3 11s" {
		t.Errorf("%q, %v", got, err)
	}
	if who := tryClaim(t, e.dsn, "A/down"); !strings.HasPrefix(who, "my-own-name") || !strings.HasSuffix(who, " at 127.0.0.1") || !strings.Contains(who, fmt.Sprintf("/%d", os.Getpid())) {
		t.Errorf("%q", who)
	}
}
