package release_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"caisseauto/internal/release"
	"caisseauto/manifest"
)

// TestInstall: publish, install, the next release, one that does not work, the
// way back by hand, and what is kept.
func TestInstall(t *testing.T) {
	w := newWorld(t)
	if r := w.run(); len(r.Updates) != 0 {
		t.Errorf("nothing is published, and %s", outcomes(r))
	}
	w.publish(w.request("1.0", works))
	if got := outcomes(w.run()); got != "caisse 1.0 installed" {
		t.Errorf("%s", got)
	}
	w.runs("caisse", "1.0")
	if left := names(t, w.path("inbox")); strings.Contains(strings.Join(left, " "), ".tar.zst") {
		t.Errorf("the archive stays in the inbox: %v", left)
	}
	if got := outcomes(w.run()); got != "" {
		t.Errorf("a second run: %s", got)
	}
	w.publish(w.request("1.1", works))
	w.publish(w.request("1.2", fails))
	r, err := w.till.Run(t.Context())
	if !errors.Is(err, release.ErrProbe) || !strings.Contains(err.Error(), "no printer") || outcomes(r) != "caisse 1.1 installed, caisse 1.2 rolled back" {
		t.Fatalf("%s, %v", outcomes(r), err)
	}
	w.runs("caisse", "1.1")
	if got := outcomes(w.run()); got != "" { // it is not tried again
		t.Errorf("after a failure: %s", got)
	}
	for _, v := range []string{"1.3", "1.4", "1.5"} {
		w.publish(w.request(v, works))
	}
	if got := outcomes(w.run()); got != "caisse 1.3 installed, caisse 1.4 installed, caisse 1.5 installed" {
		t.Errorf("%s", got)
	}
	if got := strings.Join(names(t, w.path("till/caisse/releases")), " "); got != "1.3-r4-b4 1.3-r4-b4.manifest.json 1.3-r4-b4.manifest.json.sig 1.4-r5-b5 1.4-r5-b5.manifest.json 1.4-r5-b5.manifest.json.sig 1.5-r6-b6 1.5-r6-b6.manifest.json 1.5-r6-b6.manifest.json.sig" {
		t.Errorf("kept: %s", got)
	}
	got := tree(t, w.path("till/caisse/current")+"/.")
	want := map[string]string{".": "drwxr-xr-x", "bin": "drwxr-xr-x", "lib": "drwxr-xr-x", "lib/a": "drwxr-xr-x", "README": "-rw-r--r-- version 1.5\n",
		"bin/check": "-rwxr-xr-x " + works, "lib/a/data.txt": "-rw-r--r-- " + strings.Repeat("1.5", 1000)}
	for name, is := range want {
		if got[name] != is {
			t.Errorf("%s is %.60q, want %.60q", name, got[name], is)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
	if r, err := w.till.Rollback(t.Context(), "caisse", "jean"); err != nil || outcomes(r) != "caisse 1.4 rolled back" {
		t.Errorf("%s, %v", outcomes(r), err)
	}
	w.runs("caisse", "1.4")
	if got := outcomes(w.run()); got != "" { // an operator's decision stands
		t.Errorf("after a rollback by hand: %s", got)
	}
	if n, err := w.till.Retry(t.Context()); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got := outcomes(w.run()); got != "caisse 1.5 installed" { // from the disk: its archive is not here any more
		t.Errorf("after --retry: %s", got)
	}
	w.runs("caisse", "1.5")
}

// TestRollbackSigned: the release manager calls back a release.
func TestRollbackSigned(t *testing.T) {
	w := newWorld(t)
	for _, v := range []string{"1.0", "1.1", "1.2"} {
		w.publish(w.request(v, works))
		w.run()
	}
	back := release.Request{Product: "caisse", OS: "linux", Arch: "amd64", Rollback: &manifest.Rollback{From: 3, To: 1}}
	p := w.publish(back)
	if !p.Sealed || p.Batch.Version != "1.0" || p.Batch.Release != 1 || p.Batch.Sequence != 4 {
		t.Fatalf("%+v", p.Batch)
	}
	if again := w.publish(back); again.Sealed {
		t.Error("published twice")
	}
	check(t, os.Remove(w.path("inbox/0000000004.tar.zst"))) // the release is on the disk
	if got := outcomes(w.run()); got != "caisse 1.0 installed" {
		t.Errorf("%s", got)
	}
	w.runs("caisse", "1.0")
	if got := outcomes(w.run()); got != "" {
		t.Errorf("afterwards: %s", got)
	}
	// By hand it goes further back, and not to what was called back.
	if r, err := w.till.Rollback(t.Context(), "caisse", "jean"); err != nil || outcomes(r) != "caisse 1.1 rolled back" {
		t.Errorf("%s, %v", outcomes(r), err)
	}
	w.runs("caisse", "1.1")
	// A till that never had release 3 goes its own way there: 1, 2, 3, and back.
	w.carry()
	w.till.Folder, w.till.Products[0].Folder = w.path("other"), w.path("other/caisse")
	if got := outcomes(w.run()); got != "caisse 1.0 installed, caisse 1.1 installed, caisse 1.2 installed, caisse 1.0 installed" {
		t.Errorf("%s", got)
	}
	w.runs("caisse", "1.0")
	w.publish(w.request("1.3", works))
	w.run()
	w.runs("caisse", "1.3")
	if all, err := w.till.Software(); err != nil || all.Packages[0].Release != 4 {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestRollbackNeedsExactly: a till where another release runs does not go back.
func TestRollbackNeedsExactly(t *testing.T) {
	w := newWorld(t)
	w.publish(w.request("1.0", works))
	w.publish(w.request("1.1", works))
	w.run()
	w.publish(w.request("1.2", fails))
	w.till.Run(t.Context())
	w.publish(release.Request{Product: "caisse", OS: "linux", Arch: "amd64", Rollback: &manifest.Rollback{From: 3, To: 1}})
	if got := outcomes(w.run()); got != "" {
		t.Errorf("%s", got)
	}
	w.runs("caisse", "1.1")
}

// TestOrder: what is required comes first, whatever the order of the chain,
// and a product's releases one after the other.
func TestOrder(t *testing.T) {
	w := newWorld(t)
	q := w.request("1.0", works)
	q.Requires = []manifest.Requirement{{Product: "base", Release: 2}}
	w.publish(q)
	for _, v := range []string{"7", "8"} {
		b := w.request(v, works)
		b.Product = "base"
		w.publish(b)
	}
	if got := outcomes(w.run()); got != "base 7 installed, base 8 installed, caisse 1.0 installed" {
		t.Errorf("%s", got)
	}
	q = w.request("1.1", works)
	q.Requires = []manifest.Requirement{{Product: "base", Release: 3}}
	w.publish(q)
	r, err := w.till.Run(t.Context())
	if !errors.Is(err, manifest.ErrRefused) || !strings.Contains(err.Error(), "rule K9") || outcomes(r) != "caisse 1.1 refused" {
		t.Errorf("%s, %v", outcomes(r), err)
	}
	if _, err = w.till.Run(t.Context()); !errors.Is(err, manifest.ErrRefused) {
		t.Errorf("once more: %v", err)
	}
	if s, err := w.till.Software(); err != nil || len(s.Updates) != 4 { // one piece of news
		t.Errorf("%+v, %v", s, err)
	}
	b := w.request("9", works)
	b.Product = "base"
	w.publish(b)
	if got := outcomes(w.run()); got != "base 9 installed, caisse 1.1 installed" {
		t.Errorf("%s", got)
	}
}

// TestConfirm: nobody is asked for what is not wanted, and a no ends the run.
func TestConfirm(t *testing.T) {
	w := newWorld(t)
	w.publish(w.request("1.0", works))
	w.publish(w.request("1.1", works))
	answer := []bool{true, false}
	w.till.Confirm = func(_ context.Context, b *release.Batch, from release.Place) (string, bool, error) {
		w.asked = append(w.asked, b.String()+" in place of "+from.Version)
		yes := answer[0]
		answer = answer[1:]
		return "jean", yes, nil
	}
	r := w.run()
	if outcomes(r) != "caisse 1.0 installed" || r.Declined == nil || r.Declined.Version != "1.1" || r.Updates[0].By != "jean" {
		t.Errorf("%s, %v", outcomes(r), r.Declined)
	}
	if got := strings.Join(w.asked, "; "); got != "caisse 1.0 (release 1) in place of ; caisse 1.1 (release 2) in place of 1.0" {
		t.Errorf("%s", got)
	}
	w.runs("caisse", "1.0")
	oops := errors.New("no terminal")
	w.till.Confirm = func(context.Context, *release.Batch, release.Place) (string, bool, error) { return "", false, oops }
	if _, err := w.till.Run(t.Context()); !errors.Is(err, oops) {
		t.Errorf("%v", err)
	}
	w.runs("caisse", "1.0")
}

// TestFirstFails: where nothing ran before, nothing runs after.
func TestFirstFails(t *testing.T) {
	w := newWorld(t)
	w.publish(w.request("1.0", fails))
	if _, err := w.till.Run(t.Context()); !errors.Is(err, release.ErrProbe) {
		t.Errorf("%v", err)
	}
	w.runs("caisse", "")
	if got := names(t, w.path("till/caisse/releases")); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if _, err := w.till.Rollback(t.Context(), "caisse", "jean"); !errors.Is(err, release.ErrNoWay) {
		t.Errorf("%v", err)
	}
}

// TestNewEpoch: everything of the stream is lost but what tills remember.
func TestNewEpoch(t *testing.T) {
	w := newWorld(t)
	for _, v := range []string{"1.0", "1.1"} {
		w.publish(w.request(v, works))
	}
	w.run()
	check(t, os.RemoveAll(w.path("outbox")))
	w.now = w.now.Add(time.Hour)
	w.publish(w.request("1.2", works))
	if _, err := w.till.Run(t.Context()); !errors.Is(err, manifest.ErrRefused) {
		t.Fatalf("another stream from its beginning: %v", err)
	}
	w.runs("caisse", "1.1")
	check(t, os.RemoveAll(w.path("outbox")))
	w.now = w.now.Add(time.Hour)
	q := w.request("1.3", works)
	q.NewEpoch, q.After, q.Release = "the disk burnt", 2, 9
	p := w.publish(q)
	if p.Batch.Epoch != 2 || p.Batch.Sequence != 3 || p.Batch.Previous != manifest.NoPrevious() {
		t.Errorf("%+v", p.Batch.Manifest)
	}
	if got := outcomes(w.run()); got != "caisse 1.3 installed" {
		t.Errorf("%s", got)
	}
	w.publish(w.request("1.4", works))
	w.run()
	w.runs("caisse", "1.4")
	said, err := os.ReadFile(w.path("outbox/EPOCHS.txt"))
	if err != nil || !strings.HasSuffix(string(said), "epoch 2 begins with batch 3: the disk burnt\n") {
		t.Errorf("%q, %v", said, err)
	}
}

// TestRoom: a package that would fill the disk is not begun with.
func TestRoom(t *testing.T) {
	w := newWorld(t)
	p := w.publish(w.request("1.0", works))
	free := int64(64<<20 + 100)
	w.till.Free = func(string) int64 { return free }
	if _, err := w.till.Run(t.Context()); !errors.Is(err, release.ErrNoRoom) {
		t.Errorf("%v", err)
	}
	w.runs("caisse", "")
	free += p.Batch.Package.Size() + p.Batch.Archive.Size
	if got := outcomes(w.run()); got != "caisse 1.0 installed" {
		t.Errorf("%s", got)
	}
}

// TestMove: a till that goes to another dossier gets that one's software,
// whatever its numbers are.
func TestMove(t *testing.T) {
	w := newWorld(t)
	for _, v := range []string{"1.0", "1.1", "1.2"} {
		w.publish(w.request(v, works))
	}
	w.run()
	w.pub.Stream, w.pub.Outbox = "BETA/packages", w.path("beta")
	_, err := w.pub.Publish(t.Context(), w.request("0.9", works))
	check(t, err)
	w.till.Stream, w.till.Inbox = "BETA/packages", w.path("beta")
	if all, err := w.till.Standing(); err != nil || all[0].Current.Version != "1.2" || len(all[0].Pending) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if got := outcomes(w.run()); got != "caisse 0.9 installed" {
		t.Errorf("%s", got)
	}
	w.runs("caisse", "0.9")
	_, err = w.pub.Publish(t.Context(), w.request("1.0", fails))
	check(t, err)
	if _, err := w.till.Run(t.Context()); !errors.Is(err, release.ErrProbe) {
		t.Errorf("%v", err)
	}
	w.runs("caisse", "0.9")
	if got := outcomes(w.run()); got != "" {
		t.Errorf("%s", got)
	}
}

// TestMoveToNamesake: a package of another dossier that would take the place of
// what runs, with other files, is left alone.
func TestMoveToNamesake(t *testing.T) {
	w := newWorld(t)
	w.publish(w.request("1.0", works))
	w.run()
	before := tree(t, w.path("till/caisse"))
	q := w.request("1.0", works)
	w.files("src-1.0", map[string]string{"more": "of it"})
	w.pub.Stream, w.pub.Outbox = "BETA/packages", w.path("beta")
	_, err := w.pub.Publish(t.Context(), q)
	check(t, err)
	w.till.Stream, w.till.Inbox = "BETA/packages", w.path("beta")
	if _, err := w.till.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "runs here already, with other files") {
		t.Errorf("%v", err)
	}
	w.runs("caisse", "1.0")
	if got := tree(t, w.path("till/caisse")); !maps.Equal(got, before) {
		t.Errorf("%v", got)
	}
}

// TestArchivesRemoved: a new till begins where the archives begin that are still
// kept, and one where an older release runs goes on from there.
func TestArchivesRemoved(t *testing.T) {
	w := newWorld(t)
	for _, v := range []string{"1.0", "1.1", "1.2"} {
		w.publish(w.request(v, works))
	}
	check(t, os.Remove(w.path("outbox/0000000001.tar.zst")))
	w.carry()
	if _, err := w.till.Run(t.Context()); !errors.Is(err, release.ErrIncomplete) {
		t.Errorf("the head does not say so yet: %v", err)
	}
	_, err := w.pub.Renew()
	check(t, err)
	w.carry()
	if got := outcomes(w.run()); got != "caisse 1.1 installed, caisse 1.2 installed" {
		t.Errorf("%s", got)
	}
}
