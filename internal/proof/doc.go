// Package proof shows that everything a till has sealed has arrived at the
// server: from the signed manifests, the signed head and the server's signed
// receipt alone, with public keys alone. No database is asked.
//
//	report, err := proof.Prove(ctx, files, "ACME", "017", trust, proof.Options{})
//	if err != nil {
//		return err // a file cannot be read
//	}
//	for _, line := range report.Lines {
//		fmt.Println(line) // ticket: 1000 of 1000, numbers 1-1000 without a gap
//	}
//	if !report.OK() {
//		fmt.Println(report.Missing)
//	}
//
// What is shown and how: every manifest of the stream is verified, from the
// first to the newest, each naming the one before it. The receipt names one of
// them, and with it all before. The control totals of these manifests, added
// up, must be what the receipt says was integrated: rows, sums to the cent,
// and the very numbers of tickets. What is in quarantine is missing; so is what
// no receipt covers yet, and a number that no batch ever brought.
package proof
