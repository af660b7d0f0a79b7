# Functions of setup-drop, add-till, add-release and their ways back. Sourced, not run.
# shellcheck shell=sh disable=SC2034
: "${ROOT:=/srv/drop}" "${PREFIX:=caisse}" "${SSHD_D:=/etc/ssh/sshd_config.d}"
keys=/etc/ssh/$PREFIX

die() {
	code=$1
	shift
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit "$code"
}

need_root() {
	[ "$(id -u)" -eq 0 ] || die 77 "run it as root: it makes accounts, and folders that tills cannot change; nothing was changed"
	case $PREFIX in
	"" | [!a-z]* | *[!a-z0-9]*) die 2 "PREFIX \"$PREFIX\": write a small letter, then small letters and digits" ;;
	esac
	case $ROOT in
	/*[!A-Za-z0-9_./-]* | [!/]* | "" | /) die 2 "ROOT \"$ROOT\": write the absolute path of a folder, of letters, digits and _ . / -" ;;
	esac
}

# word VALUE WHAT: dossiers and numbers become parts of paths and of names.
word() {
	case $1 in
	"" | *[!A-Za-z0-9_-]*) die 2 "\"$1\" is not a $2: write 1 to 32 letters A-Z a-z, digits, \"_\" or \"-\"" ;;
	esac
	[ ${#1} -le 32 ] || die 2 "\"$1\" is too long for a $2: 32 characters at most"
}

group() { getent group "$1" >/dev/null || groupadd --system "$1"; }

member() { id -nG "$1" | tr ' ' '\n' | grep -qx "$2" || usermod -a -G "$2" "$1"; }

# account NAME GROUP COMMENT: an account that can do nothing but what sshd
# gives it. The comment says whose it is: an account of that name that is
# somebody else's is left alone. useradd leaves "!" as its password, which sshd
# without PAM takes for a locked account; "*" is one that no password fits.
account() {
	owner "$1" "$3"
	getent passwd "$1" >/dev/null ||
		useradd --system --no-create-home --home-dir / --no-user-group --gid "$2" --shell /usr/sbin/nologin --comment "$3" "$1"
	usermod -p '*' -g "$2" "$1"
}

# owner NAME COMMENT: there is no such account, or it is the one meant.
owner() {
	is=$(getent passwd "$1" | cut -d : -f 5)
	[ "$is" = "$2" ] || ! getent passwd "$1" >/dev/null ||
		die 78 "the account $1 is there already, and is \"$is\", not \"$2\"; nothing was changed. Set another PREFIX"
}

# folder PATH OWNER GROUP MODE
folder() {
	[ ! -L "$1" ] || die 78 "$1 is a symbolic link; take it away"
	mkdir -p "$1"
	chown "$2:$3" "$1"
	chmod "$4" "$1" # after chown, which takes the setgid bit away
}

# public PUBKEYFILE: it is one public key.
public() {
	[ -r "$1" ] || die 2 "$1 cannot be read; nothing was changed"
	! grep -q PRIVATE "$1" || die 2 "$1 is a private key, which must never leave its machine; give the .pub file; nothing was changed"
	[ "$(grep -cEv '^ *(#|$)' "$1")" -eq 1 ] && grep -Eq '^(ssh|ecdsa|sk-)' "$1" && ssh-keygen -l -f "$1" >/dev/null 2>&1 ||
		die 2 "$1 is not one public key on one line; nothing was changed"
}

# authorize NAME PUBKEYFILE: one account, one key, in a file that only root
# writes, outside the jail.
authorize() {
	folder "$keys" root root 0755
	grep -Ev '^ *(#|$)' "$2" >"$keys/.$1"
	chmod 0644 "$keys/.$1"
	if [ -f "$keys/$1" ] && ! cmp -s "$keys/.$1" "$keys/$1"; then
		echo "the key of $1 was replaced; it was $(ssh-keygen -l -f "$keys/$1" | cut -d ' ' -f 2)"
	fi
	mv "$keys/.$1" "$keys/$1"
}

lower() { printf '%s' "$1" | tr '[:upper:]' '[:lower:]'; }

# short NAME: Linux takes it for an account.
short() {
	[ ${#1} -le 32 ] || die 2 "the account's name $1 is longer than the 32 characters that Linux allows; set a shorter PREFIX"
}

# till DOSSIER NUMBER: the names that belong to it.
till() {
	word "$1" dossier
	word "$2" "till's number"
	need_root
	dossier=$1 number=$2
	team=$PREFIX-$(lower "$dossier")
	user=$team-$(lower "$number")
	comment="caisseauto till $dossier/$number"
	short "$user"
	distinct
}

# manager NAME: the names that belong to a release manager.
manager() {
	word "$1" name
	need_root
	user=$PREFIX-release-$(lower "$1")
	comment="caisseauto release manager $1"
	short "$user"
}

# distinct: the dossier is not mistaken for something else.
distinct() {
	for name in tills server release; do
		[ "$team" != "$PREFIX-$name" ] || die 2 "the dossier $dossier would have the group $team, which has another use; set another PREFIX for the other dossiers' drop"
	done
	for other in "$ROOT"/*; do # groups know small letters only
		other=${other##*/}
		[ "$other" = "$dossier" ] || [ "$(lower "$other")" != "$(lower "$dossier")" ] ||
			die 2 "there is a dossier $other, which differs from $dossier in upper and lower case alone; nothing was changed"
	done
}

# give FOLDER OWNER GROUP: a stream's folder and the files in it. The first 2 of
# its mode, setgid: what is made in it belongs to its group, whoever made it.
give() {
	folder "$1" "$2" "$3" 2750
	find "$1" -maxdepth 1 -type f ! -user "$2" -exec chown -h "$2" {} +
}

# shipper FOLDER: whose the folder of packages is: the release manager's to whom
# add-release has given it, or nobody's but root's.
shipper() {
	is=$(stat -c %U "$1" 2>/dev/null || :)
	case $is in
	"$PREFIX-release-"*) echo "$is" ;;
	*) echo root ;;
	esac
}

# folders: the dossier's, where they are missing or somebody else's. Its tills,
# its release manager and the server pass the outermost; from there on what is
# data is for tills alone.
folders() {
	group "$team"
	member "$PREFIX-server" "$team"
	folder "$ROOT/$dossier" root "$team" 0710
	for name in down receipts; do
		folder "$ROOT/$dossier/$name" "$PREFIX-server" "$PREFIX-tills" 2750
	done
	folder "$ROOT/$dossier/trust" "$PREFIX-server" "$team" 2750
	folder "$ROOT/$dossier/up" "$PREFIX-server" "$PREFIX-tills" 0710
	give "$ROOT/$dossier/packages" "$(shipper "$ROOT/$dossier/packages")" "$team"
}

# drop_table: what the configuration of the account says of this drop.
drop_table() {
	host=$(cut -d ' ' -f 1,2 "${HOST_KEY:-/etc/ssh/ssh_host_ed25519_key.pub}" 2>/dev/null || :)
	cat <<-TEXT
		[drop]
		url      = "sftp://$user@${HOST:-$(hostname -f 2>/dev/null || hostname)}/"
		host_key = "${host:-ssh-ed25519 AAAA…, the line of /etc/ssh/ssh_host_ed25519_key.pub}"
	TEXT
}

# end_sessions: what the account has open ends.
end_sessions() {
	for process in /proc/[0-9]*; do
		[ "$(stat -c %U "$process" 2>/dev/null)" != "$user" ] || kill -KILL "${process#/proc/}" 2>/dev/null || :
	done
}
