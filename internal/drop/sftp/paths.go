package sftp

import (
	"path"

	"caisseauto/internal/drop"
)

// partSuffix marks a file on its way. No reader takes such a name for a file
// of the format.
const partSuffix = ".part"

// folder returns the server's path of a folder of the drop. No name that has
// not passed drop's grammar is ever sent.
func (c *Client) folder(dir string) (string, error) {
	return c.join(dir), drop.CheckDir(dir)
}

// file returns the server's path of a file of the drop.
func (c *Client) file(name string) (string, error) {
	return c.join(name), drop.CheckPath(name)
}

// join puts name under the drop's root on the server.
func (c *Client) join(name string) string { return path.Join(c.cfg.Path, name) }
