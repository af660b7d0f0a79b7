//go:build unix

package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestShopOffline: no network is a normal state. One line when it begins, one
// when it ends, JET events for both, and SIGTERM ends the process cleanly.
func TestShopOffline(t *testing.T) {
	s := newShop(t)
	s.sell("001", 1, 2)
	away := s.path("drop-away")
	if err := os.Rename(s.path("drop"), away); err != nil {
		t.Fatal(err)
	}
	s.fails(exitUnavailable, "001", "sync", "not there")
	s.fails(exitUnavailable, "001", "sync")
	cmd := exec.CommandContext(t.Context(), programLink(t), "sync", "--config", s.config("001"), "--every", "1s")
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if err := os.Rename(away, s.path("drop")); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for s.count("till-001/till.db", "SELECT count(*) FROM caisseauto_sent") == 0 && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if strings.Count(errs.String(), "off line") != 1 || strings.Count(errs.String(), "on line again") != 1 || strings.Count(errs.String(), "\n") != 2 {
		t.Errorf("want one line when it begins and one when it ends:\n%s", errs.String())
	}
	s.exchange()
	s.complete()
	for _, code := range []string{"HORS_LIGNE", "EN_LIGNE", "CHARGEMENT", "PURGE"} {
		if n := s.count("server/erp.db", "SELECT count(*) FROM jet WHERE caisse='001' AND code='"+code+"'"); n != 1 {
			t.Errorf("%d events %s of till 001 on the server, want 1", n, code)
		}
	}
}
