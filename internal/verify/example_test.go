package verify_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"caisseauto/internal/verify"
	"caisseauto/keys"
)

func Example() {
	trust, err := keys.LoadTrust("../../testdata/vectors/allowed_signers")
	if err != nil {
		log.Fatal(err)
	}
	report, err := verify.Verify(context.Background(), []string{"../../testdata/vectors/good"}, verify.Options{
		Trust: func(string) *keys.Trust { return trust },
		Now:   time.Date(2026, 3, 1, 7, 0, 0, 0, time.UTC),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range report.Streams {
		fmt.Println(s.Stream, s.First, s.Last, s.Rows, s.Verdicts[verify.Chain])
	}
	fmt.Println(report.Verdict)
	for _, f := range report.Faults {
		fmt.Println(f.File, f.Check, f.Text)
	}
	// Output:
	// ACME/down 1 5 26 ok
	// ACME/packages 1 3 0 ok
	// ACME/up/017 1 3 12 ok
	// ok
}
