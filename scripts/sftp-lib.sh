# What pull and push share: options, the session, and what a listing holds.
# Sourced by them; needs sh, sftp (OpenSSH), awk, flock, and nothing of ours.
# shellcheck shell=sh disable=SC2034,SC2154

LC_ALL=C # what sftp says is read below
export LC_ALL

say() { printf '%s: %s\n' "$me" "$*" >&2; }
die() {
	status=$1
	shift
	say "$*"
	exit "$status"
}

# worse N: the exit code of the whole run is that of the first trouble.
worst=0
worse() { [ "$worst" -ne 0 ] || worst=$1; }

absolute() {
	case $1 in
	/* | "") printf '%s' "$1" ;;
	*) printf '%s/%s' "$PWD" "$1" ;;
	esac
}

# word VALUE WHAT: dossiers and numbers become parts of paths.
word() {
	case $1 in
	"" | *[!A-Za-z0-9_-]*) die 2 "\"$1\" is not a $2: write 1 to 32 letters A-Z a-z, digits, \"_\" or \"-\"" ;;
	esac
	[ ${#1} -le 32 ] || die 2 "\"$1\" is too long for a $2: 32 characters at most"
}

# options: reads the options of the command line, and leaves in $shifted how
# many words they were.
key='' port='' known='' config='' root='' limit='' all='' packages=''
options() {
	OPTIND=1
	while getopts i:P:k:F:r:l:ap option; do
		case $option in
		i) key=$(absolute "$OPTARG") ;;
		P) port=$OPTARG ;;
		k) known=$(absolute "$OPTARG") ;;
		F) config=$(absolute "$OPTARG") ;;
		r) root=$OPTARG ;;
		l) limit=$OPTARG ;;
		a) all=yes ;;
		p) packages=yes ;;
		*) usage ;;
		esac
	done
	shifted=$((OPTIND - 1))
	case $root in
	*[!A-Za-z0-9_./-]*) die 2 "-r \"$root\": only letters, digits and _ . / - can stand here" ;;
	"" | */) ;;
	*) root=$root/ ;;
	esac
	for program in sftp awk flock; do
		command -v "$program" >/dev/null || die 2 "the program $program is missing (Debian: apt-get install openssh-client mawk util-linux)"
	done
}

# scratch makes $tmp, which goes when the script ends.
scratch() {
	tmp=$(mktemp -d) || die 73 "no temporary folder could be made in ${TMPDIR:-/tmp}; nothing was changed"
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 75' HUP INT TERM
}

# only FOLDER: one run at a time. It is the lock that caisseauto ship and
# fetch take, and the kernel lets go of it when this process and the sftp that
# it started are dead.
only() {
	mkdir -p "$1" || die 73 "$1 cannot be made; nothing was changed"
	exec 9>>"$1/.carry" || die 73 "$1/.carry cannot be written; nothing was changed"
	flock -n 9 || die 75 "the files in $1 are being copied by another process; nothing in it was changed, try again when it has ended"
}

# session FILE: one connection that runs the commands of FILE. What it printed
# is in $tmp/out and $tmp/err, its exit code in $code. A listing, a head or a
# receipt without end is cut off at 16 MiB when $small is set: SIGXFSZ.
session() {
	code=0
	(
		[ -z "${small:-}" ] || ulimit -f 32768
		exec sftp -b "$1" -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=15 \
			-o ServerAliveInterval=15 -o ServerAliveCountMax=4 \
			${config:+-F} ${config:+"$config"} ${port:+-P} ${port:+"$port"} ${limit:+-l} ${limit:+"$limit"} \
			${key:+-i} ${key:+"$key"} ${key:+-o} ${key:+IdentitiesOnly=yes} \
			${known:+-o} ${known:+"UserKnownHostsFile=\"$known\""} "$host"
	) >"$tmp/out" 2>"$tmp/err" </dev/null || code=$?
	[ -n "${small:-}" ] || return 0
	case $code in
	153) ;; # 128 + SIGXFSZ
	*) ! grep -q 'File too large' "$tmp/err" && return 0 ;;
	esac
	die 65 "$host has a listing, a head or a receipt of more than 16 MiB, which nobody accepts; nothing was changed. Look at the drop"
}

# verdict: the exit code for the last session, in $verdict; 0 when it had no
# trouble but files that are not there. 141 is 128 + SIGPIPE: ssh was gone before
# sftp had said its first word to it.
verdict() {
	grep -v -e '^Connected to ' -e ' not found\.*$' -e 'No such file or directory' -e '^Warning: Permanently added' \
		-e "Couldn't create directory: Failure" -e '^remote mkdir .*: Failure' "$tmp/err" >"$tmp/said" || :
	verdict=0
	if grep -q -e 'Permission denied' -e 'Host key verification failed' -e 'No .* host key is known' -e 'REMOTE HOST IDENT' "$tmp/said"; then
		verdict=77
	elif grep -q -e 'No space left' -e 'File too large' -e 'Read-only file system' -e 'quota exceeded' "$tmp/said"; then
		verdict=73
	elif [ "$code" -eq 255 ] || [ "$code" -eq 141 ] || grep -q -e 'Connection ' -e 'Broken pipe' -e 'Timeout' "$tmp/said"; then
		verdict=69
	elif [ "$code" -ne 0 ]; then
		verdict=1
	fi
}

# what the last session complained of, in one line
complaint() { tr '\n' ' ' <"$tmp/said" | cut -c 1-500; }

# give_up WHAT: ends when there was no connection, or no permission.
give_up() {
	verdict
	case $verdict in
	0) return ;;
	69) die 69 "no connection to $host: $(complaint); $1; try again later" ;;
	77) die 77 "not permitted at $host: $(complaint); $1; look at the key, at known_hosts, and at the permissions there" ;;
	73) die 73 "cannot write: $(complaint); $1; make room and start again" ;;
	esac
	die "$verdict" "sftp: $(complaint); $1"
}

# The names of a stream's folder (SPEC.md). Whatever else is there is
# somebody else's: it is not copied, not removed, and its name becomes no path.
# Written without {10}, which not every awk knows.
ten='[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
batch="$ten\\\\.(tar\\\\.zst|manifest\\\\.json|manifest\\\\.json\\\\.sig)"

# The names of a dossier's trust documents: "SIZE NAME" of those in $1 that are
# not in $2, signatures before what they sign. A name that is in both with
# another size goes to $3: a document is published once.
trust="($ten\\\\.json(\\\\.root-[a-z0-9]+\\\\.sig)?|tills-$ten\\\\.json(\\\\.sig)?)"
lacking() {
	: >"$3"
	awk -v no="$3" -v have="$2" '
		FILENAME == have { size[$2] = $1; next }
		!($2 in size) { print ($2 ~ /sig$/ ? 0 : 1), $0; next }
		size[$2] != $1 { print $2 " has " $1 " bytes on one side and " size[$2] " on the other" >no }' "$2" "$1" | sort -k 1,1 -k 3 | cut -d ' ' -f 2-
}

# remote FOLDER PATTERN: "SIZE NAME" of the regular files in a listing of
# "ls -ln" in $tmp/out. A name cannot hold a slash, so that one with a line
# break in it cannot pass for a line of its own.
remote() {
	awk -v folder="$root$1/" -v pattern="^($2)\$" '
		NF == 9 && $1 ~ /^-/ && $5 ~ /^[0-9]+$/ && index($9, folder) == 1 {
			name = substr($9, length(folder) + 1)
			if (name ~ pattern && name !~ /^0000000000/) print $5, name
		}' "$tmp/out" | sort -k 2
}

# here FOLDER PATTERN: the same of a folder of this machine.
here() {
	ls -lnq "$1" | awk -v pattern="^($2)\$" '
		NF == 9 && $1 ~ /^-/ && $9 ~ pattern && $9 !~ /^0000000000/ { print $5, $9 }' | sort -k 2
}

size() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo -1; fi; }

# same PAIR PAIR: both documents and signatures are there, and equal.
same() { cmp -s "$1" "$2" && cmp -s "$1.sig" "$2.sig"; }

# fits DOCUMENT LIMIT: both files are there and as small as readers accept.
fits() {
	[ -f "$1" ] && [ -f "$1.sig" ] && [ "$(size "$1")" -gt 0 ] &&
		[ "$(size "$1")" -le "$2" ] && [ "$(size "$1.sig")" -le 16384 ]
}
