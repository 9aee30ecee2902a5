//go:build deploy

// Package kubernetes tests infra/kubernetes: the objects that kustomize builds are valid by Kubernetes' own types and
// rules, and match the programs' settings.
package kubernetes

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// foreign are kinds that are not Kubernetes' own, whose fields are not checked here.
var foreign = map[string]bool{"PodMonitor": true}

// objects are the objects of an overlay, by kind and name (without the generators' hash suffix).
type objects struct {
	namespaces  map[string]*corev1.Namespace
	configs     map[string]*corev1.ConfigMap
	secrets     map[string]*corev1.Secret
	services    map[string]*corev1.Service
	deployments map[string]*appsv1.Deployment
	stateful    map[string]*appsv1.StatefulSet
	autoscalers map[string]*autoscalingv2.HorizontalPodAutoscaler
	budgets     map[string]*policyv1.PodDisruptionBudget
	ingresses   map[string]*networkingv1.Ingress
	policies    map[string]*networkingv1.NetworkPolicy
	foreign     []*unstructured.Unstructured
}

// tree copies infra/kubernetes and generates the example's secrets there, as an operator does.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"kubernetes", "redis"} {
		if err := os.CopyFS(filepath.Join(dir, folder), os.DirFS(filepath.Join("../../..", folder))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "kubernetes/overlays/example/secrets")); err != nil { // a user's own
		t.Fatal(err)
	}
	makeSecrets(t, dir)
	return filepath.Join(dir, "kubernetes")
}

func makeSecrets(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("bash", filepath.Join(dir, "kubernetes/make-secrets"), filepath.Join(dir, "kubernetes/overlays/example")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// built builds a kustomization and decodes each object strictly: an unknown or repeated field fails.
func built(t *testing.T, path string) *objects {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), path)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, autoscalingv2.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	o := &objects{
		map[string]*corev1.Namespace{}, map[string]*corev1.ConfigMap{}, map[string]*corev1.Secret{}, map[string]*corev1.Service{},
		map[string]*appsv1.Deployment{}, map[string]*appsv1.StatefulSet{}, map[string]*autoscalingv2.HorizontalPodAutoscaler{},
		map[string]*policyv1.PodDisruptionBudget{}, map[string]*networkingv1.Ingress{}, map[string]*networkingv1.NetworkPolicy{}, nil,
	}
	for _, resource := range resources.Resources() {
		text := []byte(resource.MustYaml())
		if foreign[resource.GetKind()] {
			fields, err := resource.Map()
			if err != nil {
				t.Fatal(err)
			}
			o.foreign = append(o.foreign, &unstructured.Unstructured{Object: fields})
			continue
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			t.Errorf("%s %s: got %v, want valid fields", resource.GetKind(), resource.GetName(), err)
			continue
		}
		if resource.GetKind() != "Namespace" && resource.GetNamespace() != "sightglass" {
			t.Errorf("%s %s: got namespace %q, want sightglass", resource.GetKind(), resource.GetName(), resource.GetNamespace())
		}
		o.add(t, object)
	}
	return o
}

func (o *objects) add(t *testing.T, object runtime.Object) {
	t.Helper()
	switch v := object.(type) {
	case *corev1.Namespace:
		o.namespaces[v.Name] = v
	case *corev1.ConfigMap:
		o.configs[v.Name] = v
	case *corev1.Secret:
		o.secrets[v.Name] = v
	case *corev1.Service:
		o.services[v.Name] = v
	case *appsv1.Deployment:
		o.deployments[v.Name] = v
	case *appsv1.StatefulSet:
		o.stateful[v.Name] = v
	case *autoscalingv2.HorizontalPodAutoscaler:
		o.autoscalers[v.Name] = v
	case *policyv1.PodDisruptionBudget:
		o.budgets[v.Name] = v
	case *networkingv1.Ingress:
		o.ingresses[v.Name] = v
	case *networkingv1.NetworkPolicy:
		o.policies[v.Name] = v
	default:
		t.Errorf("got a %T, want a kind that the tests check", object)
	}
}

// A pod is the pod template of a Deployment or a StatefulSet.
type pod struct {
	owner string
	corev1.PodTemplateSpec
}

// pods returns the pods of all Deployments and StatefulSets.
func (o *objects) pods() (pods []pod) {
	for name, d := range o.deployments {
		pods = append(pods, pod{name, d.Spec.Template})
	}
	for name, s := range o.stateful {
		pods = append(pods, pod{name, s.Spec.Template})
	}
	return pods
}

// container returns the pod's only container.
func (p pod) container(t *testing.T) corev1.Container {
	t.Helper()
	if len(p.Spec.Containers) != 1 || len(p.Spec.InitContainers) > 0 {
		t.Fatalf("%s: got several containers, want one", p.owner)
	}
	return p.Spec.Containers[0]
}

func (o *objects) pod(t *testing.T, owner string) pod {
	t.Helper()
	for _, p := range o.pods() {
		if p.owner == owner {
			return p
		}
	}
	t.Fatalf("got no pod of %s", owner)
	return pod{}
}

// environment returns the environment variables of the container's process.
func (o *objects) environment(t *testing.T, c corev1.Container) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		switch {
		case from.ConfigMapRef != nil:
			config := o.configs[from.ConfigMapRef.Name]
			if config == nil {
				t.Fatalf("%s: got no ConfigMap %s", c.Name, from.ConfigMapRef.Name)
			}
			for k, v := range config.Data {
				env[k] = v
			}
		case from.SecretRef != nil:
			secret := o.secrets[from.SecretRef.Name]
			if secret == nil {
				t.Fatalf("%s: got no Secret %s", c.Name, from.SecretRef.Name)
			}
			for k, v := range secret.Data {
				env[k] = string(v)
			}
		}
	}
	for _, v := range c.Env {
		env[v.Name] = v.Value
	}
	return env
}
