package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"time"

	xterm "golang.org/x/term"

	"caisseauto/internal/release"
	"caisseauto/internal/sqlite"
	"caisseauto/internal/term"
)

var (
	// errBusy: the till is at work. Exit code 75.
	errBusy = errors.New("the till is at work")
	// errNobody: somebody must be asked, and nobody is here. Exit code 78.
	errNobody = errors.New("nobody is here to ask")
)

// busy says why nothing may be installed now, where the configuration has a way
// to tell.
func (u *updater) busy(ctx context.Context) error {
	c := u.cfg.Update
	if c.BusyQuery != "" {
		yes, err := sqlite.Ask(ctx, u.cfg.Database.DSN, c.BusyQuery)
		if err != nil {
			return fmt.Errorf("update.busy_query in %s: %w", u.cfg.File, err)
		}
		if yes {
			return fmt.Errorf("%w: a sale is open (busy_query); try again later", errBusy)
		}
	}
	if len(c.BusyCommand) > 0 {
		if err := command(ctx, c.BusyCommand); err != nil {
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() >= 0 {
				return fmt.Errorf("%w: busy_command says so (%w); try again later", errBusy, err)
			}
			return fmt.Errorf("update.busy_command in %s: %w", u.cfg.File, err)
		}
	}
	if c.WaitForTickets {
		w, err := u.box.Waiting(ctx)
		if err != nil {
			return err
		}
		if w.Rows > 0 {
			return fmt.Errorf("%w: %s rows in the outbox wait for their receipt (wait_for_tickets); run caisseauto sync, and try again later", errBusy, term.Count(w.Rows))
		}
	}
	return nil
}

// commandLimit is how long a command of the configuration may take.
const commandLimit = time.Minute

// command runs a command of the configuration. What it prints is shown when it
// fails.
func command(ctx context.Context, argv []string) error {
	limited, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(limited, argv[0], argv[1:]...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch text := strings.TrimSpace(term.Clean(said.String())); {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("%s: not ended after %s", argv[0], commandLimit)
	case err != nil && text != "":
		return fmt.Errorf("%s: %w: %s", argv[0], err, clip(text, 500))
	case err != nil:
		return fmt.Errorf("%s: %w", argv[0], err)
	}
	return nil
}

// restarter runs the command of the configuration after a switch.
func (u *updater) restarter(argv []string) release.Restarter {
	return func(ctx context.Context, _ string) error { return command(ctx, argv) }
}

// confirm asks for a package, as --confirm says.
func (u *updater) confirm(_ context.Context, b *release.Batch, from release.Place) (by string, ok bool, err error) {
	u.bar.close()
	if u.flags.confirm == confirmNever || u.flags.confirm == confirmOnce && u.by != "" {
		if u.by != "" {
			return u.by, true, nil
		}
		return "nobody was asked (--confirm never)", true, nil
	}
	f, isFile := u.app.stdin.(*os.File)
	if !isFile || !xterm.IsTerminal(int(f.Fd())) {
		return "", false, fmt.Errorf("%w: %s waits, and --confirm %s wants somebody's word; nothing was changed; start it on a terminal, or with --confirm never", errNobody, b, u.flags.confirm)
	}
	if by, err = u.operator(); err != nil {
		return "", false, err
	}
	fmt.Fprint(u.app.stderr, question(b, from, u.flags.confirm))
	answer, _ := bufio.NewReader(f).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes", "o", "oui":
		u.by = by
		return by, true, nil
	}
	return "", false, nil
}

// question shows a package to whoever decides about it. What it says of itself
// is signed, and cleaned all the same: it goes to a terminal.
func question(b *release.Batch, from release.Place, confirm string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s (release %d), %s", b.Product, b.Version, b.Release, term.Size(b.Package.Size()))
	switch {
	case from.IsZero():
		s.WriteString(", the first one here\n")
	case b.Rollback != nil:
		fmt.Fprintf(&s, ", back from %s (release %d)\n", from.Version, from.Release)
	default:
		fmt.Fprintf(&s, ", in place of %s (release %d)\n", from.Version, from.Release)
	}
	for line := range strings.Lines(b.Notes) {
		fmt.Fprintf(&s, "  | %s\n", term.Clean(strings.TrimSuffix(line, "\n")))
	}
	if confirm == confirmOnce {
		s.WriteString("Install it, and all that follow? [y/N] ")
	} else {
		s.WriteString("Install it? [y/N] ")
	}
	return s.String()
}

// operator names whoever has started the program.
func (u *updater) operator() (string, error) {
	who, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("whose account this is: %w", err)
	}
	return who.Username, nil
}
