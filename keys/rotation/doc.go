// Package rotation lets trust travel in band: who the server and the release
// manager are, and which tills there are, say signed documents that lie on the
// drop beside the streams.
//
//	ACME/trust/0000000001.json              who is trusted: version 1
//	ACME/trust/0000000001.json.root-1.sig   a root's signature under it, m of n of them
//	ACME/trust/tills-0000000001.json        which tills there are: list 1
//	ACME/trust/tills-0000000001.json.sig    the server's signature under it
//	ACME/trust/allowed_signers              the same in ssh-keygen's words
//
// A [Document] is signed by roots, keys that are kept off line; the threshold
// says how many of them it takes. It names the roots themselves, so that they
// can be replaced: version 4 counts where enough roots of version 3 have
// signed it, and enough of its own. Tills walk the versions one by one, and
// skip none.
//
// A key that is no longer used is retired: what it signed up to a number stays
// good. A key that was stolen is revoked: from a number on it signs nothing.
// Neither has to do with time.
//
// A [TillList] is signed by the server, whom the roots trust for it. So a till
// is added by one command, and no root is taken out of its safe.
//
// What a machine knows of all this stands in its allowed_signers, as a
// [keys.Block]. [Begin] makes the first one, [Advance] and [Enrol] go on from
// there, and [Follow] walks as far as the files go:
//
//	trust, walked, err := rotation.Follow(trust, "ACME", files, false)
//
// On an error the trust it returns is the newest one that could be believed,
// and stays in force.
package rotation
