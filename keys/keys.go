package keys

import "golang.org/x/crypto/ssh"

// The namespaces of the signatures, one for each kind of statement, so that
// no statement can be passed off as one of another kind (PROTOCOL.sshsig,
// "namespace").
const (
	NamespaceManifest = "manifest@caisseauto" // batches of a server
	NamespaceTickets  = "tickets@caisseauto"  // batches of a till
	NamespacePackage  = "package@caisseauto"  // batches of a release manager
	NamespaceHead     = "head@caisseauto"
	NamespaceReceipt  = "receipt@caisseauto"
	NamespaceTrust    = "trust@caisseauto" // of offline roots, over who is trusted
	NamespaceTills    = "tills@caisseauto" // of a server, over which tills there are
)

// A Signer makes detached armored SSHSIG signatures in the name of one key.
type Signer interface {
	Public() ssh.PublicKey
	// Sign returns the armored signature (sha512) over message.
	Sign(message []byte, namespace string) ([]byte, error)
}
