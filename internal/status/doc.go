// Package status says who is where in a dossier, from the signed heads and
// receipts on the drop alone: no database is asked, and no till. Whoever can
// read the drop and has the public keys sees it.
//
//	d, err := status.Gather(ctx, files, "ACME", trust, status.Options{Now: time.Now()})
//	if err != nil {
//		return err // the folder cannot be listed
//	}
//	for _, t := range d.Tills {
//		fmt.Println(t.Till, t.LagBatches, t.Waiting, t.Alarms)
//	}
//
// What a till says of itself is in the head of its stream: how far it has
// applied the stream down, what waits in its outbox, its alarms, its disk, which
// software packages run. What
// the server has taken is in its receipt. A file that does not verify is an
// alarm of that till, and hides no other.
//
// Clocks are judged by signed times alone, so that only bounds are known: a
// till that has applied a batch before that was sealed is behind by at least
// the difference; one whose batch is younger than the receipt for it is ahead.
//
// [Prometheus] writes the figures for node_exporter's textfile
// collector, [HTML] a page.
package status
