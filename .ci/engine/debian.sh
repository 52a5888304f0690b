# shellcheck shell=bash
# Debian's packages, for the scripts beside this file: sourced, not run.
# $work is a temporary folder that is gone in the end, however the end comes: a
# signal waits for the commands under way, so that nothing writes there after.
work=$(mktemp -d "${TMPDIR:-/var/tmp}/engine.XXXXXX")
trap 'wait; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

debian_release() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

# The machine's own mirror (one-line or deb822 sources), else Debian's.
debian_mirror() {
  local found
  found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null | awk '
    $1 == "deb" || $1 == "URIs:" {
      for (i = 2; i <= NF; i++) if ($i ~ /^https?:.*\/debian\/?$/) { print $i; exit }
    }')
  echo "${found:-http://deb.debian.org/debian}"
}

# debian_install SUITE PACKAGE...: the packages from SUITE, what they need from
# the machine's own release where that is enough. A list of its own leaves the
# machine's apt untouched; --no-remove keeps what is installed (docker-ce would
# have to go for docker.io: then this fails instead).
debian_install() {
  local suite=$1 own mirror options; shift
  own=$(debian_release)
  mirror=$(debian_mirror)
  mkdir -p "$work/lists/partial" "$work/parts"
  printf "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n" \
    "$mirror" "$suite" "$mirror" "$own" | sort -u >"$work/sources.list"
  options=(-qq "-oDir::State::Lists=$work/lists" "-oDir::Etc::SourceList=$work/sources.list"
    "-oDir::Etc::SourceParts=$work/parts" "-oAPT::Default-Release=$own" -oDpkg::Use-Pty=0)
  export DEBIAN_FRONTEND=noninteractive
  # An install that was cut off half-way is finished first.
  quietly dpkg --configure -a &&
    quietly apt-get "${options[@]}" update &&
    quietly apt-get "${options[@]}" install --yes --no-remove --no-install-recommends "${@/%//$suite}"
}

# The output of a command that works is noise; of one that fails, the answer.
quietly() {
  local output; output=$(mktemp "$work/output.XXXXXX")
  "$@" >"$output" 2>&1 || { tail -n 30 "$output" >&2; return 1; }
}
