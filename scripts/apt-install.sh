# Sourced by the other scripts: install_with_apt WHAT PACKAGE... installs Debian packages as root or with sudo, or says
# what to ask for. WHAT is the sentence's subject: who needs them.
install_with_apt() {
  local what=$1 as_root=()
  shift
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
      echo "$what: ask an administrator to run 'apt-get install $*'." >&2
      exit 1
    }
    as_root=(sudo)
  fi
  command -v apt-get >/dev/null || {
    echo "$what on the PATH; this system has no apt-get to install them with." >&2
    exit 1
  }
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@"
}
