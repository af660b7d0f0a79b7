package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever the bytes: no panic, and either a configuration that holds what
// the rest of the program relies on, or an *Error with a problem.
func FuzzServer(f *testing.F) {
	f.Add([]byte(serverDoc))
	for _, r := range refusedServers {
		f.Add([]byte(strings.Replace(serverDoc, r.old, r.new, 1)))
	}
	f.Add([]byte(upDoc))
	f.Add([]byte("dossier = [{code = \"A\", table = [{name = \"t\"}]}]\ndatabase = {dsn = \"x\"}\n"))
	f.Add([]byte("[dossier]\n[[dossier]]\n"))
	f.Add([]byte("a.\"b]\".c = 1\n[[a.b]]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseServer("server.toml", filepath.Join(os.TempDir(), "server.toml"), data)
		if err != nil {
			wellSaid(t, err)
			return
		}
		if s.Database.DSN == "" || len(s.Dossiers) == 0 || s.Head.Expires.Duration <= 0 {
			t.Errorf("%+v", s)
		}
		if s.Database.Driver == DriverSQLite && !filepath.IsAbs(s.Database.DSN) {
			t.Errorf("relative path %q", s.Database.DSN)
		}
		for _, d := range s.Dossiers {
			if !codeForm.MatchString(d.Code) {
				t.Errorf("code %q", d.Code)
			}
		}
	})
}

func FuzzTill(f *testing.F) {
	f.Add([]byte(tillDoc))
	f.Add([]byte(tillDoc + "[jet]\ntable = \"jet\"\n[jet.codes]\npurge = \"\"\n[sync]\nmax_backoff = \"5m\"\n"))
	f.Add([]byte(tillDoc + updateDoc))
	for _, r := range refusedUpdates {
		f.Add([]byte(tillDoc + strings.Replace(updateDoc, r.old, r.new, 1)))
	}
	for _, r := range refusedTills {
		f.Add([]byte(strings.Replace(tillDoc, r.old, r.new, 1)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseTill("till.toml", filepath.Join(os.TempDir(), "till.toml"), data)
		if err != nil {
			wellSaid(t, err)
			return
		}
		if !codeForm.MatchString(c.Identity.Number) || !filepath.IsAbs(c.Database.DSN) {
			t.Errorf("%+v", c)
		}
		if u := c.Update; u != nil && (len(u.Products) == 0 || u.Keep < leastKept || !filepath.IsAbs(u.Products[0].Folder)) {
			t.Errorf("%+v", u)
		}
		// Its own words, written and read again, mean the same.
		data, err = RenderTill("till.toml", c)
		if err != nil {
			t.Fatalf("%v\n%+v", err, c)
		}
		if _, err := parseTill("till.toml", c.File, data); err != nil {
			t.Errorf("%v\n%s", err, data)
		}
	})
}

func FuzzRelease(f *testing.F) {
	f.Add([]byte(releaseDoc))
	for _, r := range refusedReleases {
		f.Add([]byte(strings.Replace(releaseDoc, r.old, r.new, 1)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseRelease("release.toml", filepath.Join(os.TempDir(), "release.toml"), data)
		if err != nil {
			wellSaid(t, err)
			return
		}
		if !releasePrincipal.MatchString(c.Signing.Principal) || len(c.Dossiers) == 0 || !filepath.IsAbs(c.Paths.Outbox) || c.Head.Expires.Duration <= 0 {
			t.Errorf("%+v", c)
		}
		data, err = RenderRelease("release.toml", c)
		if err != nil {
			t.Fatalf("%v\n%+v", err, c)
		}
		if _, err := parseRelease("release.toml", c.File, data); err != nil {
			t.Errorf("%v\n%s", err, data)
		}
	})
}

func wellSaid(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Problem == "" || e.File == "" {
		t.Errorf("%#v", err)
	}
}
