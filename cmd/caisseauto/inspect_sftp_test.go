//go:build unix

package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"caisseauto/keys"
)

// TestInspectFar looks at a drop behind a real sshd.
func TestInspectFar(t *testing.T) {
	w := newWorld(t)
	w.mkdir("drop/ACME/packages")
	for _, base := range []string{"0000000002.manifest.json", "0000000002.manifest.json.sig", "0000000002.tar.zst"} {
		w.write(w.path("drop/ACME/packages/"+base), w.read("../../testdata/vectors/good/ACME/packages/"+base))
	}
	list := append(w.read(w.path("till/allowed_signers")), keys.AllowedLine([]string{"release@acme"}, nil, w.vectorKey("release").Public(), "")+"\n"...)
	w.write(w.path("till/allowed_signers"), list)
	login := makeKey(t, w.path("login"))
	w.write(w.path("authorized_keys"), []byte(login+"\n"))
	s := startStock(t, "StrictModes no\nAuthorizedKeysFile "+w.path("authorized_keys")+"\n")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("sftp://%s@127.0.0.1:%s%s", me.Username, s.port, w.path("drop"))
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	if err := os.Truncate(w.down("0000000003.tar.zst"), 5<<30); err != nil {
		t.Fatal(err)
	}
	makeKey(t, w.path("other"))
	good := []string{"--signers", w.path("till/allowed_signers"), "--identity", w.path("login"), "--host-key", s.hostKey}
	for _, c := range []struct {
		args []string
		code int
		out  string
	}{
		{append([]string{"inspect", url + "/ACME/down/0000000002"}, good...), 0, "1 patch"},
		{append([]string{"inspect", url + "/ACME/down/0000000002", "--key", "A1", "--json"}, good...), 0, `"price":2`},
		{append([]string{"inspect", url + "/ACME/down/0000000003", "--rows"}, good...), exitRefused, "5368709120 bytes"},
		{append([]string{"inspect", url + "/ACME/down/0000000009"}, good...), exitUsage, "no batch 9"},
		{append([]string{"inspect", url + "/ACME/down"}, good...), 0, "4 batches"},
		{append([]string{"inspect", url + "/ACME"}, good...), 0, "4 batches"},
		{append([]string{"inspect", url}, good...), 0, "4 batches"},
		{append([]string{"inspect", url}, good...), 0, "ACME/packages: 1 batches"},
		{append([]string{"inspect", url + "/ACME/packages/0000000002"}, good...), 0, "hello 1.1, release 2, for linux/any"},
		{append([]string{"inspect", url + "/ACME/packages/0000000002", "--file", "bin/hello"}, good...), 0, "#!/bin/sh\necho two\n"},
		{append([]string{"find", "article", "A1", url}, good...), exitRefused, "NOT SEARCHED ACME/down 3: archive refused"},
		{append([]string{"find", "article", "A1", url}, good...), exitRefused, `patch   code="A1" price=2`},
		{append([]string{"inspect", url + "/ACME/down"}, append(good[:4:4], "--host-key", w.path("other.pub"))...), exitDenied, "host key"},
		{append([]string{"inspect", url + "/ACME/down", "--identity", w.path("other")}, append(good[:2:2], good[4:]...)...), exitDenied, me.Username},
		{[]string{"inspect", url + "/ACME/down", "--signers", "none"}, exitUsage, "--host-key"},
		{append([]string{"inspect", strings.Replace(url, ":"+s.port, ":1", 1) + "/ACME/down"}, good...), exitUnavailable, ""},
	} {
		code, stdout, stderr := w.run(c.args...)
		if code != c.code || !strings.Contains(stdout+stderr, c.out) {
			t.Errorf("%v: exit code %d, want %d and %q\n%s%s", c.args, code, c.code, c.out, stdout, stderr)
		}
	}
	if left, _ := filepath.Glob(tmp + "/*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
