package main

import (
	"bytes"
	"strings"
	"testing"

	"caisseauto/manifest"
)

// TestInspectPackage: what a package is, its files, one of them as it is.
func TestInspectPackage(t *testing.T) {
	s := newShelf(t)
	s.publish(nil, nil)
	s.publish(nil, func(m *manifest.Manifest) {
		m.Notes = "Nouveau\u202e\nécran\n"
		m.Probe.Command = []string{"bin/hello", "--say", "it works"}
		m.Requires = []manifest.Requirement{{Product: "base", Release: 4}}
	})
	s.publish(nil, func(m *manifest.Manifest) { m.Release, m.Rollback = 1, &manifest.Rollback{From: 2, To: 1} })
	s.head(nil)
	for _, c := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"0000000002"}, 0, []string{"ACME/packages 2: package of epoch 1", "signature good, key listed", "hello 1.2, release 2, for linux/any: 3 files, 27 B\n",
			"requires  base, release 4 or newer\n", `probe     bin/hello --say "it works", within 30 s` + "\n", `notes     Nouveau\u202e` + "\n", "notes     écran\n", "all in it are what was signed",
			"bin/hello            0755  19 B  "}},
		{[]string{"0000000003"}, 0, []string{"rollback  it is older, and replaces release 2\n"}},
		{[]string{"0000000002", "--json"}, 0, []string{`"contents": "good"`, `"product": "hello"`, `"name": "share/Lisez moi.txt"`, `"seconds": 30`}},
		{[]string{""}, 0, []string{"ACME/packages: 3 batches", "files", "hello 1.2 (2) for linux/any\n", "hello 1.3 (1) for linux/any, the way back from release 2\n"}},
		{[]string{"", "--json"}, 0, []string{`"files": 3`, `"release": 2`, `"arch": "any"`}},
		{[]string{"0000000002", "--file", "share/Lisez moi.txt"}, 0, []string{"bonjour\n"}},
		{[]string{"0000000002", "--file", "share"}, exitUsage, []string{"no such file", "share/Lisez moi.txt"}},
		{[]string{"0000000002", "--file", "LICENSE", "--json"}, exitUsage, []string{"no JSON"}},
		{[]string{"0000000002", "--file", "LICENSE", "--rows"}, exitUsage, []string{"one or the other"}},
		{[]string{"", "--file", "LICENSE"}, exitUsage, []string{"of one batch"}},
		{[]string{"0000000002", "--table", "t"}, exitUsage, []string{"no rows", "--file NAME"}},
	} {
		args := append([]string{"inspect", "--signers", s.path("allowed_signers"), s.pack(c.args[0])}, c.args[1:]...)
		code, out, errs := s.run(args...)
		for _, says := range c.says {
			if code != c.code || !strings.Contains(out+errs, says) {
				t.Errorf("%q: exit code %d, want %d and %q\n%s%s", c.args, code, c.code, says, out, errs)
			}
		}
		if len(c.args) == 3 && c.code == 0 && out != c.says[0] {
			t.Errorf("%q prints %q, and not the file alone", c.args, out)
		}
	}
	if _, out, errs := s.run("find", "--signers", s.path("allowed_signers"), "article", "1", s.path("drop")); out != "" || !strings.Contains(errs, "in none of 0 batches") {
		t.Errorf("find does not pass the packages over: %s%s", out, errs)
	}
}

// TestInspectEvilPackages: of an archive that is not what was signed not one
// byte comes out.
func TestInspectEvilPackages(t *testing.T) {
	s := newShelf(t)
	for _, x := range evilPackages {
		s.publish(x.evil, nil)
		batch := s.pack(name(s.last.Sequence, ""))
		code, out, errs := s.run("inspect", "--signers", s.path("allowed_signers"), batch)
		if code != exitRefused || !strings.Contains(out, "REFUSED, nothing of it is shown") {
			t.Errorf("%s: exit code %d: %s%s", x.name, code, out, errs)
		}
		if code, out, errs := s.run("inspect", "--signers", s.path("allowed_signers"), batch, "--file", "LICENSE"); code != exitRefused || out != "" {
			t.Errorf("%s: exit code %d, printed %q: %s", x.name, code, out, errs)
		}
		if code, out, errs := s.run("inspect", "--signers", s.path("allowed_signers"), batch, "--file", "bin/hello"); code != exitRefused || out != "" {
			t.Errorf("%s: exit code %d, printed %q: %s", x.name, code, out, errs)
		}
	}
	// Nor of a file that is good itself, and so large that it would be out before
	// the one behind it is read.
	s.files = []entry{file("bin/hello", strings.Repeat("x", 4<<20)), file("z", "good")}
	s.publish(func(list []entry) []entry { list[1].body = "evil"; return list }, nil)
	if code, out, errs := s.run("inspect", "--signers", s.path("allowed_signers"), s.pack(name(s.last.Sequence, "")), "--file", "bin/hello"); code != exitRefused || out != "" {
		t.Errorf("exit code %d, printed %d bytes: %s", code, len(out), errs)
	}
}

// TestCleanLines: a terminal obeys nothing of a file.
func TestCleanLines(t *testing.T) {
	for in, want := range map[string]string{
		"one\ntwo\n":           "one\ntwo\n",
		"\n\nno end":           "\n\nno end\n",
		"a\tb\x1b[2J\r\n":      "a\tb\\x1b[2J\\r\n",
		"é\xff":                "é\\xff\n",
		"":                     "",
		strings.Repeat("x", 3): "xxx\n",
	} {
		var b bytes.Buffer
		c := &cleanLines{w: &b}
		for i := range len(in) { // in the worst pieces
			if n, err := c.Write([]byte(in[i : i+1])); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		if len(c.line) > 0 {
			if err := c.flush(); err != nil {
				t.Fatal(err)
			}
		}
		if b.String() != want {
			t.Errorf("%q is shown as %q, want %q", in, b.String(), want)
		}
	}
	var b bytes.Buffer
	c := &cleanLines{w: &b}
	if _, err := c.Write(bytes.Repeat([]byte("x"), 3*maxShownLine)); err != nil || len(c.line) > 2*maxShownLine {
		t.Errorf("%d bytes of a line are kept, %v", len(c.line), err)
	}
}
