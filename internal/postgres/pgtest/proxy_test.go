//go:build unix

package pgtest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// add puts a row into a table, in a transaction, through the proxy.
func add(dsn string, x int) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err = tx.Exec(ctx, "INSERT INTO a VALUES ($1)", x); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// The connection is lost at each message, and around it, in both directions:
// the row is there whole or not at all, it is there when the client was told
// so, and in one place nobody can tell.
func TestProxyCuts(t *testing.T) {
	c := Get(t)
	a := c.NewDatabase(t, "CREATE TABLE a (x int)")
	name := Database(t, a)
	p := c.Proxy(t)
	through := p.DSN(name, "postgres")
	p.Count()
	if err := add(through, 0); err != nil {
		t.Fatal(err)
	}
	c.Quiet(t, name)
	total := [2]Passed{p.Passed(ToServer), p.Passed(ToClient)}
	if p.WasCut() || total[ToServer].Messages < 8 || total[ToClient].Messages < 8 {
		t.Fatalf("%v, %t", total, p.WasCut())
	}
	type outcome struct{ told, kept bool }
	seen := map[Direction]map[outcome]int{ToServer: {}, ToClient: {}}
	x := 0
	try := func(d Direction, arm func()) {
		x++
		p.Reset(x%2 == 0)
		arm()
		err := add(through, x)
		c.Quiet(t, name)
		if !p.WasCut() {
			t.Fatalf("no cut, %v", err)
		}
		rows := Query(t, a, "SELECT 1 FROM a WHERE x = "+strconv.Itoa(x))
		seen[d][outcome{err == nil, len(rows) == 1}]++
		if err == nil && len(rows) != 1 {
			t.Errorf("row %d is lost", x)
		}
	}
	for d, n := range total {
		d := Direction(d)
		for m := range n.Messages + 1 {
			try(d, func() { p.CutAfterMessages(d, m) })
			if got := p.Passed(d).Messages; got != m {
				t.Errorf("%d messages passed %s, want %d", got, d, m)
			}
		}
		for b := 0; b <= n.Bytes; b += 1 + rand.IntN(10) {
			try(d, func() { p.CutAfter(d, b) })
			if got := p.Passed(d).Bytes; got != b {
				t.Errorf("%d bytes passed %s, want %d", got, d, b)
			}
		}
	}
	t.Logf("%v; %v", total, seen)
	for d, want := range map[Direction][]outcome{ToServer: {{false, false}, {true, true}}, ToClient: {{false, false}, {false, true}, {true, true}}} {
		for _, o := range want {
			if seen[d][o] == 0 {
				t.Errorf("cuts %s: never %+v", d, o)
			}
		}
	}
	p.CutAfter(ToServer, total[ToServer].Bytes+1)
	if err := add(through, x+1); err != nil || p.WasCut() {
		t.Errorf("%v, cut: %t", err, p.WasCut())
	}
}

// Messages are counted as the protocol has them, however they are cut up.
func TestFrames(t *testing.T) {
	startup, err := (&pgproto3.StartupMessage{ProtocolVersion: 196608, Parameters: map[string]string{"user": "u"}}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, ends := startup, []int{len(startup)}
	for _, m := range []pgproto3.FrontendMessage{&pgproto3.Query{String: "SELECT 1"}, &pgproto3.Sync{}, &pgproto3.Sync{},
		&pgproto3.CopyData{Data: make([]byte, 5000)}, &pgproto3.CopyDone{}, &pgproto3.Terminate{}} {
		if stream, err = m.Encode(stream); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, len(stream))
	}
	for size := range 40 {
		f := frames{untyped: true}
		var got []int
		for at := 0; at < len(stream); {
			chunk := stream[at:min(len(stream), at+size+1)]
			for len(chunk) > 0 {
				n, whole := f.next(chunk)
				chunk, at = chunk[n:], at+n
				if whole {
					got = append(got, at)
				}
			}
		}
		if !slices.Equal(got, ends) {
			t.Errorf("in pieces of %d: messages end at %v, want %v", size+1, got, ends)
		}
	}
}

// A length that is none must not bring the proxy into a loop.
func TestFramesNonsense(t *testing.T) {
	for size := 1; size < 12; size++ {
		f := frames{untyped: true}
		for chunk := range slices.Chunk(slices.Repeat([]byte{0, 0, 0, 0, 'x', 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff}, 10), size) {
			for len(chunk) > 0 {
				n, _ := f.next(chunk)
				if n <= 0 || n > len(chunk) {
					t.Fatalf("%d of %d bytes", n, len(chunk))
				}
				chunk = chunk[n:]
			}
		}
	}
}

func TestProxyNetwork(t *testing.T) {
	c := Start(t, Options{})
	a := c.NewDatabase(t)
	p := c.Proxy(t)
	ctx := context.Background()
	dsn := p.DSN(Database(t, a), "postgres")

	conn := Connect(t, dsn)
	p.Cut()
	if err := conn.Ping(ctx); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a cut: %v", err)
	}
	conn = Connect(t, dsn)
	p.Reset(true)
	p.Cut()
	if err := conn.Ping(ctx); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("after a reset: %v", err)
	}

	conn = Connect(t, dsn)
	p.Down()
	if err := conn.Ping(ctx); err == nil {
		t.Error("a connection is left of a network that is down")
	}
	if _, err := pgx.Connect(ctx, dsn); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("while down: %v", err)
	}
	p.Up(t)
	conn = Connect(t, dsn)

	p.Hold(true)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := conn.Ping(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("in silence: %v", err)
	}
	p.Hold(false)
	conn = Connect(t, dsn)
	if err := conn.Ping(ctx); err != nil {
		t.Error(err)
	}

	c.Kill(t)
	if err := conn.Ping(ctx); err == nil {
		t.Error("a killed server answers")
	}
	if _, err := pgx.Connect(ctx, dsn); err == nil {
		t.Error("a killed server answers a new connection")
	}
	c.Start(t)
	sees(t, dsn, "SELECT 1", "1")
}
