package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"caisseauto/exporter"
	"caisseauto/importer"
	"caisseauto/internal/config"
	"caisseauto/internal/database"
	"caisseauto/internal/drop"
	"caisseauto/internal/durable"
	"caisseauto/internal/postgres"
	"caisseauto/internal/release"
	"caisseauto/internal/sqlite"
	"caisseauto/keys"
)

// TestReadmeExitCodes: the table of the README has exactly the codes that the
// program uses.
func TestReadmeExitCodes(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(string(text), -1) {
		got = append(got, m[1])
	}
	var want []string
	for _, code := range []int{exitDone, exitFailure, exitUsage, exitRefused, exitUnavailable, exitCannotWrite, exitBusy, exitDenied, exitOperator} {
		want = append(want, fmt.Sprint(code))
	}
	if !slices.Equal(got, want) {
		t.Errorf("README has the exit codes %v, the program %v", got, want)
	}
}

// TestReadmeCommands: what the README tells to type is there.
func TestReadmeCommands(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	root := (&app{}).root()
	for _, m := range regexp.MustCompile(`caisseauto ([a-z]+)( server| till)?`).FindAllStringSubmatch(string(text), -1) {
		if c, _, err := root.Find(strings.Fields(m[1] + m[2])); (err != nil || c == root) && m[1] != "completion" && !regexp.MustCompile(`caisseauto carries`).MatchString(m[0]) {
			t.Errorf("README says %q: %v", m[0], err)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{&usageError{fs.ErrInvalid}, exitUsage},
		{&config.Error{}, exitUsage},
		{database.ErrNotInstalled, exitUsage},
		{importer.ErrRefused, exitRefused},
		{drop.ErrTooMany, exitRefused},
		{drop.ErrTooLarge, exitRefused},
		{drop.ErrUnavailable, exitUnavailable},
		{database.ErrUnavailable, exitUnavailable},
		{exporter.ErrUnseen, exitUnavailable},
		{postgres.ErrClaimLost, exitUnavailable},
		{context.DeadlineExceeded, exitUnavailable},
		{drop.ErrNoSpace, exitCannotWrite},
		{database.ErrNoSpace, exitCannotWrite},
		{syscall.ENOSPC, exitCannotWrite},
		{syscall.EROFS, exitCannotWrite},
		{database.ErrReadOnly, exitCannotWrite},
		{database.ErrBusy, exitBusy},
		{database.ErrMoved, exitBusy},
		{durable.ErrLocked, exitBusy},
		{context.Canceled, exitBusy},
		{drop.ErrDenied, exitDenied},
		{database.ErrDenied, exitDenied},
		{keys.ErrPermission, exitDenied},
		{exporter.ErrKey, exitDenied},
		{fs.ErrPermission, exitDenied},
		{exporter.ErrAhead, exitOperator},
		{exporter.ErrLost, exitOperator},
		{drop.ErrConflict, exitOperator},
		{durable.ErrDifferent, exitOperator},
		{errDossier, exitOperator},
		{sqlite.ErrWaiting, exitOperator},
		{errFindings, exitOperator},
		{errNobody, exitOperator},
		{release.ErrProbe, exitOperator},
		{release.ErrNoWay, exitOperator},
		{release.ErrForked, exitOperator},
		{release.ErrRequest, exitRefused},
		{release.ErrIncomplete, exitUnavailable},
		{errBusy, exitBusy},
		{release.ErrNoRoom, exitCannotWrite},
		{&exitError{"import", exitBusy}, exitFailure}, // passed on by exit, see isExit
		{fs.ErrInvalid, exitFailure},
	} {
		if got := exitCode(fmt.Errorf("somewhere: %w", c.err)); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}
