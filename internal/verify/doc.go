// Package verify checks sealed files where they lie: one batch, the folder of
// a stream, a dossier, a whole drop, a copy of one on a memory stick. It needs
// public keys alone: no network, no database, no private key.
//
//	report, err := verify.Verify(ctx, []string{"drop"}, verify.Options{Trust: trust, Now: time.Now()})
//	if err != nil {
//		return err // the folder cannot be opened
//	}
//	for _, f := range report.Faults {
//		fmt.Println(f.File, f.Check, f.Text)
//	}
//
// The checks are kept apart, so that an auditor sees what holds and what does
// not:
//
//   - signature: each statement is signed, in the namespace of its kind, by
//     the key that the signature names;
//   - signer: that key belongs to the principal who may sign there;
//   - trust: the key was neither retired before nor revoked at that number.
//     Trust documents that lie beside the streams are followed from where the
//     list of keys that was given begins, and are checked as a stream of their
//     own: enough roots have signed each, and the list of keys beside them says
//     what they say;
//   - hash: each archive has the size and SHA-256 that were signed;
//   - chain: each manifest names the one before it, by its digest, and heads
//     and receipts name manifests that are there;
//   - freshness: the newest head has not expired;
//   - completeness: everything that heads, receipts and numbers speak of is
//     there, but for archives that their writer has given up;
//   - content: statements and archives are what SPEC.md says, to the last row,
//     and in the stream of packages to the last byte of each file. Archives are decompressed for that, which takes much longer than all
//     else: see [Contents].
//
// Each check is ok, wrong, or unchecked where nothing of the kind could be
// looked at. The script scripts/verify comes to the same verdicts with stock
// tools; a test holds the two against each other.
//
// A check that fails ends the checks of that file: what has no good signature
// is not read, and an archive without a good manifest is not opened. Memory is
// bounded whatever the folders hold.
package verify
