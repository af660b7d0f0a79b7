package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"caisseauto/internal/release"
	"caisseauto/internal/term"
)

// tell writes the attempts that the till's journal has not yet into it.
func (u *updater) tell(ctx context.Context) error {
	code := codes(u.cfg).Update
	if code == "" {
		return nil
	}
	if err := installBox(ctx, u.box); err != nil {
		return err
	}
	return u.packages.Untold(func(x release.Update) error {
		data, err := json.Marshal(x)
		if err != nil {
			return err
		}
		return u.box.Event(ctx, code, sentence(x), string(data))
	})
}

// sentence says in words what an attempt came to.
func sentence(x release.Update) string {
	s := fmt.Sprintf("%s %s (release %d, batch %d) %s", x.Product, x.Version, x.Release, x.Sequence, x.Outcome)
	if x.By != "" {
		s += ", confirmed by: " + x.By
	}
	if x.Reason != "" {
		s += ": " + x.Reason
	}
	return s
}

// An updateResult is what update prints with --json.
type updateResult struct {
	Stream   string           `json:"stream"`
	Till     string           `json:"till"`
	Updates  []release.Update `json:"updates"`
	Declined string           `json:"declined,omitempty"`
	Removed  int              `json:"releases_removed"`
	Runs     []runsResult     `json:"runs"`
}

type runsResult struct {
	Product string `json:"product"`
	Version string `json:"version"`
	Release int64  `json:"release"`
	Batch   int64  `json:"batch"`
}

// print shows what a run did. With an error that says all there is to say,
// nothing is shown when nothing was done.
func (u *updater) print(r release.Report, err error) error {
	out := updateResult{Stream: u.packages.Stream, Till: u.cfg.Identity.Number, Updates: append([]release.Update{}, r.Updates...), Removed: r.Removed}
	if r.Declined != nil {
		out.Declined = r.Declined.String()
	}
	w, serr := u.packages.Software()
	if serr != nil {
		return serr
	}
	out.Runs = runsOf(w)
	if u.app.json {
		return term.JSON(u.app.stdout, out)
	}
	if r.Declined != nil {
		u.app.printf("till %s: %s is not installed, as was answered; it waits\n", out.Till, r.Declined)
	}
	if len(r.Updates) == 0 {
		if err == nil && r.Declined == nil {
			u.app.printf("till %s: nothing new to install; %s\n", out.Till, running(out.Runs))
		}
		return nil
	}
	t := term.NewTable("till", "package", "release", "outcome", "confirmed by", "why")
	for _, x := range r.Updates {
		t.Row(out.Till, x.Product+" "+x.Version, fmt.Sprint(x.Release), string(x.Outcome), x.By, term.Clean(x.Reason))
	}
	if err := t.Print(u.app.stdout); err != nil {
		return err
	}
	u.app.printf("till %s: %s\n", out.Till, running(out.Runs))
	return nil
}

func runsOf(w *release.Software) []runsResult {
	runs := []runsResult{}
	for _, p := range w.Packages {
		runs = append(runs, runsResult{p.Product, p.Version, p.Release, p.Sequence})
	}
	return runs
}

// running says what runs, in a sentence.
func running(all []runsResult) string {
	if len(all) == 0 {
		return "no package is installed"
	}
	var words []string
	for _, p := range all {
		words = append(words, fmt.Sprintf("%s %s (release %d)", p.Product, p.Version, p.Release))
	}
	verb := " runs"
	if len(all) > 1 {
		verb = " run"
	}
	return strings.Join(words, ", ") + verb
}

// printList shows what runs, what there is to go back to and what waits. lookErr
// is about what waits.
func (u *updater) printList(all []release.Standing, lookErr error) error {
	if u.app.json {
		return errors.Join(lookErr, term.JSON(u.app.stdout, listOf(all)))
	}
	t := term.NewTable("product", "runs", "on the disk beside it", "waits")
	for _, s := range all {
		var others, waits []string
		for _, at := range s.Others {
			others = append(others, fmt.Sprintf("%s (%d)", at.Version, at.Release))
		}
		for _, b := range s.Pending {
			waits = append(waits, fmt.Sprintf("%s (%d), %s", b.Version, b.Release, term.Size(b.Package.Size())))
		}
		runs := "nothing"
		if !s.Current.IsZero() {
			runs = fmt.Sprintf("%s (%d)", s.Current.Version, s.Current.Release)
		}
		if s.Trial {
			runs += ", not proven yet"
		}
		t.Row(s.Product, runs, cmp.Or(strings.Join(others, ", "), "-"), cmp.Or(strings.Join(waits, "; "), "-"))
	}
	return errors.Join(lookErr, t.Print(u.app.stdout))
}

// A listResult is one product of update --list --json.
type listResult struct {
	runsResult
	Trial   bool         `json:"trial,omitempty"`
	Others  []runsResult `json:"others"`
	Waiting []runsResult `json:"waiting"`
}

func listOf(all []release.Standing) []listResult {
	list := []listResult{}
	for _, s := range all {
		x := listResult{runsResult: placeResult(s.Product, s.Current), Trial: s.Trial, Others: []runsResult{}, Waiting: []runsResult{}}
		for _, at := range s.Others {
			x.Others = append(x.Others, placeResult(s.Product, at))
		}
		for _, b := range s.Pending {
			x.Waiting = append(x.Waiting, runsResult{s.Product, b.Version, b.Release, b.Sequence})
		}
		list = append(list, x)
	}
	return list
}

func placeResult(product string, at release.Place) runsResult {
	return runsResult{product, at.Version, at.Release, at.Sequence}
}
