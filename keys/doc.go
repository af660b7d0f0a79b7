// Package keys signs statements and says whose signature is trusted.
//
// A key is an OpenSSH key, made by [Generate] or by ssh-keygen, and read by
// [Load]. A signature is what "ssh-keygen -Y sign" writes (PROTOCOL.sshsig):
// armored, detached, over the SHA-512 of the message, and bound to a namespace
// such as [NamespaceManifest], so that no signature over one kind of file is
// good for another kind.
//
// Which keys are trusted, and for whom, stands in an allowed_signers file:
//
//	server@acme   namespaces="manifest@caisseauto,head@caisseauto" ssh-ed25519 AAAA…
//	till-017@acme namespaces="manifest@caisseauto,head@caisseauto" ssh-ed25519 AAAA…
//
// [ParseAllowedSigners] reads a strict subset of what ssh-keygen reads, which
// means the same there: anybody can check a signature without this program,
//
//	ssh-keygen -Y verify -f allowed_signers -I server@acme -n manifest@caisseauto -s FILE.sig < FILE
//
// [Trust.Verify] answers who signed. It takes the key from the trust, never
// from the signature, and accepts neither a signature file nor a list of keys
// with anything odd in it.
//
// Where roots sign who is trusted, the list has a [Block] that their documents
// have written; package caisseauto/keys/rotation goes from one to the next.
// Keys come to an end there by numbers of batches, never by time:
// [Trust.Batch] says whether a signature counts for one, [Trust.Current]
// whether a key still signs heads and receipts, and [Trust.For] what of a list
// counts in a dossier.
//
// Keys: Ed25519 is the default. ECDSA P-256 is there for tills under fiscal
// rules that list it (NF525), RSA from 2048 bits for those who must. A private
// key lies in a file, encrypted or not ([New], [Load]), or in the SSH agent
// ([OpenAgent]), and so in a FIDO2 or PKCS#11 token too. [Describe] shows keys.
package keys
