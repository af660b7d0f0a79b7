package config_test

import (
	"strings"
	"testing"

	"caisseauto/internal/config"
)

func TestParseDrop(t *testing.T) {
	d, err := config.ParseDrop("sftp://till-017@drop.example:2022/ACME/down", "")
	if err != nil || d.Local() || d.Host != "drop.example:2022" || d.User != "till-017" || d.Path != "/ACME/down" {
		t.Errorf("%+v %v", d, err)
	}
	if d, err = config.ParseDrop("file:drop", "/srv"); err != nil || d.Folder != "/srv/drop" {
		t.Errorf("%+v %v", d, err)
	}
	for _, bad := range []string{"", "drop", "sftp://drop.example/", "sftp://u:hunter2@drop.example/", "sftp://u@drop.example/?hunter2", "http://u:hunter2@x/"} {
		if _, err := config.ParseDrop(bad, ""); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
