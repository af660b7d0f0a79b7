package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"caisseauto/importer"
	"caisseauto/internal/drop"
	"caisseauto/keys"
)

// receipt writes the till's receipt where something new is to be said: signed
// into the outbox, then onto the drop. What a crash leaves undone the next
// run does: the database remembers which receipts are out.
func (w *worker) receipt(ctx context.Context, j job, stream string, r *collectResult) error {
	receipt, pending, err := w.db.Receipt(ctx, stream)
	if err != nil || receipt == nil || !pending {
		return err
	}
	receipt.Signer, receipt.Issued = w.c.cfg.Signing.Principal, time.Now().UTC().Truncate(time.Second)
	doc, sig, err := importer.SealReceipt(receipt, w.c.signer)
	if err != nil {
		return err
	}
	name := receiptPath(j.dossier, j.till)
	if err := errors.Join(w.out.Replace(ctx, name+".sig", sig), w.out.Replace(ctx, name, doc)); err != nil {
		return fmt.Errorf("writing the receipt: %w; everything is integrated, the next run writes it", err)
	}
	if w.drop != nil {
		if _, err := drop.MirrorPair(ctx, w.drop, w.out, name); err != nil {
			return fmt.Errorf("shipping the receipt: %w; everything is integrated, the next run ships it", err)
		}
	}
	if err := w.db.ReceiptDone(ctx, stream, receipt.Issue); err != nil {
		return err
	}
	r.Receipt = true
	return nil
}

// mayReceipt makes sure, before anything is integrated, that a till with our
// allowed_signers would accept our receipts.
func mayReceipt(signer keys.Signer, principal, dossier string, trust *keys.Trust) error {
	err := trust.MaySign(signer, principal, dossier, keys.NamespaceReceipt)
	if errors.Is(err, keys.ErrRetired) || errors.Is(err, keys.ErrRevoked) {
		return fmt.Errorf("%w; nothing was collected", err)
	}
	if err != nil {
		return fmt.Errorf("%w; nothing was collected; its line in allowed_signers, here and on the tills, should be: %s",
			err, keys.AllowedLine([]string{principal}, serverNamespaces, signer.Public(), ""))
	}
	return nil
}

// What each side signs.
var (
	serverNamespaces  = []string{keys.NamespaceManifest, keys.NamespaceHead, keys.NamespaceReceipt, keys.NamespaceTills}
	tillNamespaces    = []string{keys.NamespaceTickets, keys.NamespaceHead}
	releaseNamespaces = []string{keys.NamespacePackage, keys.NamespaceHead}
)
