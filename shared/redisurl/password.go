package redisurl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// credentials returns a function for the user and the password of each connection; nil to use those of the URL.
func (o Options) credentials(user, password string) (credentialFunc, error) {
	switch {
	case o.PasswordFile == "" && user != "" && password == "":
		return nil, errors.New("--redis has a user without a password: want redis://USER:PASSWORD@HOST, or --redis-password-file (a password without a user is redis://:PASSWORD@HOST)")
	case o.PasswordFile == "":
		return nil, nil
	case password != "":
		return nil, errors.New("--redis-password-file is set, and the URL of --redis has a password too: remove it from the URL")
	}
	if _, err := o.readPassword(); err != nil {
		return nil, err
	}
	return func(context.Context) (string, string, error) {
		password, err := o.readPassword()
		return user, password, err
	}, nil
}

// readPassword reads the file for each connection, so that a new password needs no restart.
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
