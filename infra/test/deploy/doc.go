// Package deploy holds the tests of what operators run: balancers, Redis in all its forms, containers, boards. They are
// heavier than the rest and some need root, so they have a build tag, deploy, and a target of their own, make
// test-deploy.
package deploy
