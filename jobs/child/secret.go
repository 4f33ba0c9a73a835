package child

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Secret returns the secret stored in the file, which the first call generates. It consists of
// letters and digits.
func Secret(file string) (string, error) {
	kept, err := ReadOwn(file)
	if err == nil && len(kept) > 0 {
		return strings.TrimSpace(string(kept)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read a kept secret: %w", err)
	}
	secret := rand.Text()
	if err := WriteOwn(file, []byte(secret), 0o600, nil); err != nil {
		return "", fmt.Errorf("keep a secret: %w", err)
	}
	return secret, nil
}
