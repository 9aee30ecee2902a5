//go:build deploy

package kubernetes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// everything checks the example, and the example with the component that excludes one of its own.
func everything(t *testing.T, check func(*testing.T, *objects)) {
	dir := tree(t)
	example := filepath.Join(dir, "overlays/example")
	t.Run("example", func(t *testing.T) { check(t, built(t, example)) })

	text, err := os.ReadFile(filepath.Join(example, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	without, _, found := strings.Cut(string(text), "  - target:\n      kind: Ingress\n")
	if !found {
		t.Fatal("got no patch of an Ingress at the example's end, want one")
	}
	without = strings.ReplaceAll(without, "components/ingress", "components/loadbalancer")
	if err := os.WriteFile(filepath.Join(example, "kustomization.yaml"), []byte(without), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("with a load balancer", func(t *testing.T) { check(t, built(t, example)) })
}

func TestBase_BuildsAlone(t *testing.T) {
	o := built(t, filepath.Join(tree(t), "base"))
	if len(o.deployments) != 1 || len(o.stateful) != 1 || len(o.secrets) != 0 {
		t.Errorf("got %d deployments, %d stateful sets, %d secrets; want those of the base", len(o.deployments), len(o.stateful), len(o.secrets))
	}
}

// TestExample_IncludesEveryComponent: otherwise no test would build the component.
func TestExample_IncludesEveryComponent(t *testing.T) {
	components, err := os.ReadDir("../../../kubernetes/components")
	if err != nil || len(components) < 5 {
		t.Fatalf("got %d components, error %v, want more", len(components), err)
	}
	example, err := os.ReadFile("../../../kubernetes/overlays/example/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range components {
		if !strings.Contains(string(example), "components/"+c.Name()+"\n") && c.Name() != "loadbalancer" {
			t.Errorf("got no %s in the example", c.Name())
		}
	}
}

// TestSelectors_MatchPods: every selector matches the pods that its object is for.
func TestSelectors_MatchPods(t *testing.T) {
	everything(t, func(t *testing.T, o *objects) {
		some := func(what string, selector *metav1.LabelSelector) []string {
			t.Helper()
			owners := o.selected(t, selector)
			if len(owners) == 0 {
				t.Errorf("%s: got no selected pod, want one", what)
			}
			return owners
		}
		one := func(what, want string, selector *metav1.LabelSelector) {
			t.Helper()
			if got := some(what, selector); !slices.Equal(got, []string{want}) {
				t.Errorf("%s: got selected pods %v, want %s", what, got, want)
			}
		}
		for name, d := range o.deployments {
			one("Deployment "+name, name, d.Spec.Selector)
		}
		for name, s := range o.stateful {
			one("StatefulSet "+name, name, s.Spec.Selector)
			if o.services[s.Spec.ServiceName] == nil {
				t.Errorf("StatefulSet %s: got no Service %s", name, s.Spec.ServiceName)
			}
		}
		for name, b := range o.budgets {
			one("PodDisruptionBudget "+name, name, b.Spec.Selector)
		}
		for name, s := range o.services {
			owner, _, _ := strings.Cut(name, "-")
			one("Service "+name, owner, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		}
		for name, p := range o.policies {
			some("NetworkPolicy "+name, &p.Spec.PodSelector)
		}
		for _, p := range o.pods() {
			for _, spread := range p.Spec.TopologySpreadConstraints {
				one(p.owner+"'s topology spread", p.owner, spread.LabelSelector)
			}
		}
		for name, h := range o.autoscalers {
			if h.Spec.ScaleTargetRef.Kind != "Deployment" || o.deployments[h.Spec.ScaleTargetRef.Name] == nil {
				t.Errorf("HorizontalPodAutoscaler %s: got no %s %s", name, h.Spec.ScaleTargetRef.Kind, h.Spec.ScaleTargetRef.Name)
			} else if o.deployments[h.Spec.ScaleTargetRef.Name].Spec.Replicas != nil {
				t.Errorf("%s: got a number of replicas, want none, as each apply would reset it", h.Spec.ScaleTargetRef.Name)
			}
		}
	})
}

func (o *objects) selected(t *testing.T, selector *metav1.LabelSelector) (owners []string) {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range o.pods() {
		if s.Matches(labels.Set(p.Labels)) {
			owners = append(owners, p.owner)
		}
	}
	return owners
}

// TestPorts_ReferencesExist: the ports that probes, Services, policies, Ingresses and monitors name exist, and no
// Service has the operators' port.
func TestPorts_ReferencesExist(t *testing.T) {
	everything(t, func(t *testing.T, o *objects) {
		for _, p := range o.pods() {
			c := p.container(t)
			if c.LivenessProbe == nil || c.ReadinessProbe == nil {
				t.Errorf("%s: got no probes", p.owner)
			}
			for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
				switch {
				case probe == nil:
				case probe.HTTPGet != nil:
					hasPort(t, c, p.owner+"'s probe", probe.HTTPGet.Port)
				case probe.TCPSocket != nil:
					hasPort(t, c, p.owner+"'s probe", probe.TCPSocket.Port)
				}
			}
		}
		for name, s := range o.services {
			for _, owner := range o.selected(t, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}) {
				for _, port := range s.Spec.Ports {
					c := o.pod(t, owner).container(t)
					if got := hasPort(t, c, "Service "+name, port.TargetPort); got.Name == "metrics" {
						t.Errorf("Service %s: got the operators' port, want none", name)
					}
				}
			}
		}
		for name, p := range o.policies {
			o.policyPorts(t, name, p)
		}
		for name, i := range o.ingresses {
			for _, rule := range i.Spec.Rules {
				for _, path := range rule.HTTP.Paths {
					s := o.services[path.Backend.Service.Name]
					if s == nil || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == path.Backend.Service.Port.Name }) {
						t.Errorf("Ingress %s: got no Service %v", name, path.Backend.Service)
					}
				}
			}
		}
		o.monitored(t)
	})
}

func hasPort(t *testing.T, c corev1.Container, reference string, port intstr.IntOrString) corev1.ContainerPort {
	t.Helper()
	for _, p := range c.Ports {
		if port.Type == intstr.String && p.Name == port.StrVal || port.Type == intstr.Int && p.ContainerPort == port.IntVal {
			return p
		}
	}
	t.Errorf("%s: %s: got no port %s", reference, c.Name, port.String())
	return corev1.ContainerPort{}
}

func (o *objects) policyPorts(t *testing.T, name string, p *networkingv1.NetworkPolicy) {
	t.Helper()
	for _, rule := range p.Spec.Ingress {
		for _, owner := range o.selected(t, &p.Spec.PodSelector) {
			for _, port := range rule.Ports {
				hasPort(t, o.pod(t, owner).container(t), "NetworkPolicy "+name, *port.Port)
			}
		}
		for _, peer := range rule.From {
			if peer.PodSelector != nil && peer.NamespaceSelector == nil && len(o.selected(t, peer.PodSelector)) == 0 {
				t.Errorf("NetworkPolicy %s: got no pod in from", name)
			}
		}
	}
	for _, rule := range p.Spec.Egress {
		for _, peer := range rule.To {
			if peer.PodSelector == nil || peer.NamespaceSelector != nil {
				continue // another namespace's
			}
			owners := o.selected(t, peer.PodSelector)
			if len(owners) == 0 {
				t.Errorf("NetworkPolicy %s: got no pod in to", name)
			}
			for _, owner := range owners {
				for _, port := range rule.Ports {
					hasPort(t, o.pod(t, owner).container(t), "NetworkPolicy "+name, *port.Port)
				}
			}
		}
	}
}

// monitored checks the references of the foreign kind.
func (o *objects) monitored(t *testing.T) {
	t.Helper()
	if len(o.foreign) != 1 || o.foreign[0].GetAPIVersion() != "monitoring.coreos.com/v1" {
		t.Fatalf("got %d objects of foreign kinds, want one", len(o.foreign))
	}
	var monitor struct {
		Selector            metav1.LabelSelector
		PodMetricsEndpoints []struct{ Port, Interval string }
	}
	convert(t, o.foreign[0].Object["spec"], &monitor)
	owners := o.selected(t, &monitor.Selector)
	if slices.Sort(owners); !slices.Equal(owners, []string{"edge", "ingester"}) {
		t.Errorf("got metrics of %v, want edge and ingester", owners)
	}
	for _, owner := range owners {
		hasPort(t, o.pod(t, owner).container(t), "PodMonitor", intstr.FromString(monitor.PodMetricsEndpoints[0].Port))
	}
}

// TestNetworkPolicies_DenyByDefault: one policy denies both directions for every pod, and the others allow only the
// intended ports.
func TestNetworkPolicies_DenyByDefault(t *testing.T) {
	everything(t, func(t *testing.T, o *objects) {
		deny := o.policies["default-deny"]
		if deny == nil || len(deny.Spec.Ingress)+len(deny.Spec.Egress) > 0 || len(deny.Spec.PolicyTypes) != 2 || len(o.selected(t, &deny.Spec.PodSelector)) != len(o.pods()) {
			t.Fatalf("got default policy %v, want it to deny everything", deny)
		}
		var in, out []string
		for _, p := range o.policies {
			for _, owner := range o.selected(t, &p.Spec.PodSelector) {
				for _, rule := range p.Spec.Ingress {
					in = append(in, allowed(owner, rule.Ports)...)
				}
				for _, rule := range p.Spec.Egress {
					out = append(out, allowed(owner, rule.Ports)...)
				}
			}
		}
		slices.Sort(in)
		slices.Sort(out)
		if want := []string{"edge http", "edge metrics", "ingester metrics", "redis redis"}; !slices.Equal(in, want) {
			t.Errorf("got ingress ports %v, want %v", in, want)
		}
		want := []string{"edge 53", "edge 53", "edge 6379", "ingester 28332", "ingester 53", "ingester 53", "ingester 6379", "ingester 8332"}
		if !slices.Equal(out, want) {
			t.Errorf("got egress ports %v, want %v", out, want)
		}
	})
}

func allowed(owner string, ports []networkingv1.NetworkPolicyPort) (lines []string) {
	if len(ports) == 0 {
		return []string{owner + " everything"}
	}
	for _, p := range ports {
		lines = append(lines, owner+" "+p.Port.String())
	}
	return lines
}

// TestPods_AreRestricted: pods satisfy Kubernetes' restricted level, which the namespace enforces, and further rules.
func TestPods_AreRestricted(t *testing.T) {
	everything(t, func(t *testing.T, o *objects) {
		if got := o.namespaces["sightglass"].Labels[api.EnforceLevelLabel]; got != string(api.LevelRestricted) {
			t.Errorf("got level %q of the namespace, want restricted", got)
		}
		rules, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range o.pods() {
			level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
			if got := policy.AggregateCheckResults(rules.EvaluatePod(level, &p.ObjectMeta, &p.Spec)); !got.Allowed {
				t.Errorf("%s: got violations, want none: %s", p.owner, got.ForbiddenDetail())
			}
			c := p.container(t)
			if s := c.SecurityContext; s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				t.Errorf("%s: got a writable root file system, want it read-only", p.owner)
			}
			if p.Spec.AutomountServiceAccountToken == nil || *p.Spec.AutomountServiceAccountToken {
				t.Errorf("%s: got a token for the API server, want none", p.owner)
			}
			if p.Spec.EnableServiceLinks == nil || *p.Spec.EnableServiceLinks {
				t.Errorf("%s: got variables of Services, want none", p.owner)
			}
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
				t.Errorf("%s: got resources %v, want requests and a memory limit", p.owner, c.Resources)
			}
			for _, v := range p.Spec.Volumes {
				if v.ConfigMap != nil && o.configs[v.ConfigMap.Name] == nil || v.Secret != nil && o.secrets[v.Secret.SecretName] == nil {
					t.Errorf("%s: got no source for the volume %s", p.owner, v.Name)
				}
			}
		}
	})
}
