package redisurl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// credentials gives Redis's user and password for each connection; nil: what the URL says.
func (o Options) credentials(user, password string) (credentialFunc, error) {
	switch {
	case o.PasswordFile == "" && user != "" && password == "":
		return nil, errors.New("--redis: there is a user and no password: redis://USER:PASSWORD@HOST, or --redis-password-file (a password without a user is redis://:PASSWORD@HOST)")
	case o.PasswordFile == "":
		return nil, nil
	case password != "":
		return nil, errors.New("--redis-password-file: there is a password in the URL of --redis too; take it out there")
	}
	if _, err := o.readPassword(); err != nil {
		return nil, err
	}
	return func(context.Context) (string, string, error) {
		password, err := o.readPassword()
		return user, password, err
	}, nil
}

// readPassword reads the file as it is now, so that a new password is taken up without a restart.
func (o Options) readPassword() (string, error) {
	text, err := os.ReadFile(o.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("--redis-password-file: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" || strings.ContainsAny(password, "\r\n") {
		return "", fmt.Errorf("--redis-password-file %s: want the password and nothing else, on one line", o.PasswordFile)
	}
	return password, nil
}
