// Package durable puts files on disk so that a crash leaves the old state or
// the new one and nothing between. It is the only package of this program
// that renames, links or syncs.
//
// Two kinds of crash are meant. When the process dies (kill -9, out of
// memory), the kernel still holds every byte written so far, and only the
// order of the steps matters. When the machine loses power, only what was
// synced is certain: a file's bytes by fsync on the file, its name by fsync
// on the folder that holds the name. A name that reached the disk before the
// bytes it stands for shows an empty or torn file. So every function here
// writes under a temporary name, syncs the bytes, gives them their name in
// one step, and syncs the folder, in this order.
//
// [WriteFile] replaces a file. [Create] and [Publish] make a file that must
// not be there yet: with the same bytes they succeed again, so that a step
// whose answer was lost can be repeated; with other bytes they return
// [ErrDifferent] and change nothing. [SyncTree] and then [RenameNew] put a
// whole folder in its place, and [Point] says by a symbolic link which of
// several is the one in use. [Lock] keeps a second process away from
// a stream and is released by any death of the first.
//
// The functions take paths of the operating system. [In] gives the same
// functions below an [os.Root], for trees in which strangers may have put
// symbolic links.
//
// A crash can leave a temporary file or link beside the target. Nothing reads
// such a file; [Tree.Sweep] removes them.
package durable
