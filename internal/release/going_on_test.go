//go:build unix

package release_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"caisseauto/internal/release"
	"caisseauto/keys"
	"caisseauto/manifest"
)

// stopped is a victim whose update to version was killed in its restart: it is
// switched to, and nothing says whether it works.
func stopped(t *testing.T, probe string) *world {
	t.Helper()
	w := victim(t)
	if probe != works {
		w.forgetThird()
		w.publish(w.request("1.1b", probe))
	}
	w.stop()
	return w
}

// forgetThird takes the third batch back, which no till has seen.
func (w *world) forgetThird() {
	w.t.Helper()
	check(w.t, os.RemoveAll(w.path("outbox")))
	check(w.t, os.CopyFS(w.path("outbox"), os.DirFS(w.path("seen"))))
}

// stop runs an update that ends in the restart, as if it was killed there.
func (w *world) stop() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.till.Products[0].Restart = func(context.Context, string) error { cancel(); return ctx.Err() }
	if _, err := w.till.Run(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "not proven yet") {
		w.t.Fatal(err)
	}
	w.till.Products[0].Restart = w.restart
	if s, err := w.till.Standing(); err != nil || !s[0].Trial {
		w.t.Fatalf("%+v, %v", s, err)
	}
}

// restart notes what was restarted.
func (w *world) restart(_ context.Context, dir string) error {
	_, version, _ := strings.Cut(dir, "/releases/")
	w.restarted = append(w.restarted, version)
	return nil
}

// TestGoesOn: what a stopped update had switched to is proven by the next one.
func TestGoesOn(t *testing.T) {
	w := stopped(t, works)
	if got := outcomes(w.run()); got != "caisse 1.1 installed" || !slices.Equal(w.restarted, []string{"1.1-r2-b3"}) {
		t.Errorf("%s, %v", got, w.restarted)
	}
	w.runs("caisse", "1.1")
	w.tidy()
}

// TestGoesBack: or left, when it does not work.
func TestGoesBack(t *testing.T) {
	w := stopped(t, fails)
	r, err := w.till.Run(t.Context())
	if !errors.Is(err, release.ErrProbe) || outcomes(r) != "caisse 1.1b rolled back" || !slices.Equal(w.restarted, []string{"1.1b-r2-b3", "1.0-r1-b2"}) {
		t.Errorf("%s, %v, %v", outcomes(r), w.restarted, err)
	}
	w.runs("caisse", "1.0")
	w.tidy()
}

// TestGoesOnLater: what goes on restarts what runs, and so waits for the end of
// a sale as well.
func TestGoesOnLater(t *testing.T) {
	w := stopped(t, works)
	before := w.landscape()
	w.till.Busy = func(context.Context) error { return errBusy }
	if _, err := w.till.Run(t.Context()); !errors.Is(err, errBusy) {
		t.Errorf("%v", err)
	}
	w.same(before)
	if len(w.restarted) > 0 {
		t.Errorf("%v", w.restarted)
	}
	w.till.Busy = nil
	if got := outcomes(w.run()); got != "caisse 1.1 installed" {
		t.Errorf("%s", got)
	}
}

// TestStoppedBeforeRestart: the kill came between the way back and the restart,
// and what does not work is what still runs in memory.
func TestStoppedBeforeRestart(t *testing.T) {
	w := stopped(t, works)
	check(t, os.Remove(w.path("till/caisse/current")))
	check(t, os.Symlink("releases/1.0-r1-b2", w.path("till/caisse/current")))
	w.till.Confirm = func(context.Context, *release.Batch, release.Place) (string, bool, error) { return "", false, nil }
	oops := errors.New("no such service")
	w.till.Products[0].Restart = func(ctx context.Context, dir string) error { return errors.Join(oops, w.restart(ctx, dir)) }
	if _, err := w.till.Run(t.Context()); !errors.Is(err, oops) {
		t.Errorf("%v", err)
	}
	if !slices.Equal(w.restarted, []string{"1.0-r1-b2"}) {
		t.Errorf("%v", w.restarted)
	}
	w.tidy()
	w.run() // it is told once
	w.runs("caisse", "1.0")
}

// TestRetryIsProvenAnew: a release that failed before, in this very second, has
// not proven itself by that.
func TestRetryIsProvenAnew(t *testing.T) {
	w := victim(t)
	w.forgetThird()
	w.publish(w.request("1.1b", fails))
	if _, err := w.till.Run(t.Context()); !errors.Is(err, release.ErrProbe) {
		t.Fatal(err)
	}
	if n, err := w.till.Retry(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	w.carry()
	w.stop()
	if _, err := w.till.Run(t.Context()); !errors.Is(err, release.ErrProbe) {
		t.Errorf("%v", err)
	}
	w.runs("caisse", "1.0")
}

// TestRollbackFails: what an operator wanted to leave runs again, and is no
// release that was given up.
func TestRollbackFails(t *testing.T) {
	w := newWorld(t)
	probe := "#!/bin/sh\ntest ! -e " + w.path("broken") + "\n"
	w.publish(w.request("1.0", probe))
	w.publish(w.request("1.1", works))
	w.run()
	w.write(w.path("broken"), nil)
	if r, err := w.till.Rollback(t.Context(), "caisse", "jean"); !errors.Is(err, release.ErrProbe) || outcomes(r) != "caisse 1.0 rolled back" {
		t.Errorf("%s, %v", outcomes(r), err)
	}
	w.runs("caisse", "1.1")
	w.publish(w.request("1.2", works))
	w.run()
	if r, err := w.till.Rollback(t.Context(), "caisse", "jean"); err != nil || outcomes(r) != "caisse 1.1 rolled back" {
		t.Errorf("%s, %v", outcomes(r), err)
	}
	w.runs("caisse", "1.1")
}

// TestRollbackStopped: asked for again after it was stopped, it is not two.
func TestRollbackStopped(t *testing.T) {
	w := newWorld(t)
	for _, v := range []string{"1.0", "1.1", "1.2"} {
		w.publish(w.request(v, works))
	}
	w.run()
	ctx, cancel := context.WithCancel(t.Context())
	w.till.Products[0].Restart = func(context.Context, string) error { cancel(); return ctx.Err() }
	if _, err := w.till.Rollback(ctx, "caisse", "jean"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	w.till.Products[0].Restart = nil
	if r, err := w.till.Rollback(t.Context(), "caisse", "jean"); err != nil || outcomes(r) != "caisse 1.1 rolled back" {
		t.Errorf("%s, %v", outcomes(r), err)
	}
	w.runs("caisse", "1.1")
	if got := outcomes(w.run()); got != "" {
		t.Errorf("afterwards: %s", got)
	}
}

// limit makes trust say that the release key is retired or revoked there, and
// that the release manager has another one.
func (w *world) limit(kind string, sequence string) (next keys.Signer) {
	w.t.Helper()
	next = newKey(w.t, "release-2")
	line := func(principal string, k keys.Signer, namespaces ...string) string {
		return keys.AllowedLine([]string{principal}, namespaces, k.Public(), "") + "\n"
	}
	text := "#: trust ACME 3 1 " + strings.Repeat("a", 64) + "\n" +
		line("root-1@acme", newKey(w.t, "root"), keys.NamespaceTrust) +
		line("release@acme", w.release, keys.NamespacePackage, keys.NamespaceHead) +
		line("release@acme", next, keys.NamespacePackage, keys.NamespaceHead) +
		"#: " + kind + " release@acme " + ssh.FingerprintSHA256(w.release.Public()) + " ACME/packages " + sequence + "\n#: end ACME\n"
	trust, err := keys.ParseAllowedSigners("allowed_signers", []byte(text))
	check(w.t, err)
	w.trust, w.till.Trust, w.pub.Trust = trust, trust, trust
	return next
}

// TestKeyIsOver: a package by a key that is retired or revoked is refused, and
// one by the next key is installed.
func TestKeyIsOver(t *testing.T) {
	victim := victim(t)
	for _, c := range []struct{ name, kind, sequence, file, err string }{
		{"retired before it", "retired", "2", third, "is retired"},
		{"revoked from it on", "revoked", "3", third, "is revoked"},
		{"only the head is of the old key", "retired", "3", manifest.HeadName, "is retired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := victim.clone(t)
			next := w.limit(c.kind, c.sequence)
			w.refuses(manifest.ErrRefused, c.file, "rule S7", c.err)
			if c.file != manifest.HeadName {
				w.forgetThird()
			}
			w.pub.Signer = next
			w.publish(w.request("1.1", works))
			if got := outcomes(w.run()); got != "caisse 1.1 installed" {
				t.Errorf("%s", got)
			}
		})
	}
	t.Run("revoked altogether", func(t *testing.T) {
		w := victim.clone(t)
		w.limit("revoked", "1")
		w.refuses(manifest.ErrRefused, "0000000001.manifest.json", "rule S7")
	})
}

// TestRevokedOnTrial: what nobody vouches for any more does not stay because an
// update was stopped in the middle.
func TestRevokedOnTrial(t *testing.T) {
	w := stopped(t, works)
	w.limit("revoked", "3")
	if _, err := w.till.Run(t.Context()); !errors.Is(err, manifest.ErrRefused) || !errors.Is(err, keys.ErrRevoked) || !strings.Contains(err.Error(), "caisse 1.0 runs again") {
		t.Errorf("%v", err)
	}
	if !slices.Equal(w.restarted, []string{"1.0-r1-b2"}) {
		t.Errorf("%v", w.restarted)
	}
	w.runs("caisse", "1.0")
	w.tidy()
}
